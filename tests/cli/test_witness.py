"""key, rotate-key, checkpoint, check-witness: a digest in a mailbox, and the log of today."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from email import message_from_bytes
from pathlib import Path

import pytest
from commandline import Home

from newsletter import config, consent, store
from newsletter.consent import checkpoint, merkle, tiles, tree
from newsletter.consent.note import Signer, Verifier, open_note
from newsletter.consent.tiles import Tile
from newsletter.errors import BadInput, InvalidProof
from newsletter.mail.sink import Sink
from newsletter.web import create_app, make_server

ARTICLE = "---\ntitle: Harvest\nsummary: What grew.\n---\nThe whole story.\n"
HEADER = "Consent-Log-Checkpoint"


@pytest.fixture
def mail(home: Home, sink: Sink) -> Path:
    """A digest as a reader got it, when the log had three events."""
    home.set(smtp_url=sink.url)
    home.publish()
    home.bring_in("ada@example.net", "bob@example.net", "eve@example.net")
    home.run("article", "add", home.write("harvest.md", ARTICLE))
    home.run("digest", "new", "--publication", "field-notes", "--subject", "Harvest", 1)
    home.run("digest", "approve", 1)
    home.run("send", 1)
    file = home.folder / "digest.eml"
    file.write_bytes(sink.received[0].raw)
    return file


@contextmanager
def served(home: Home) -> Iterator[str]:
    """The installation's web app on loopback; gives its address."""
    settings = config.load(home.file).settings
    engine = store.connect(settings.database_url)
    server = make_server(create_app(settings, engine), "127.0.0.1", 0, threads=2)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server.url
    finally:
        server.close()
        thread.join()
        engine.dispose()


def check(home: Home, mail: Path, *, code: int = 0) -> dict[str, object]:
    with served(home) as url:
        found = home.json("consent", "check-witness", mail, "--url", url, code=code)
    assert isinstance(found, dict)
    return found


def sign(home: Home) -> None:
    """Sign the log as it is, without the command's own look at it."""
    settings = config.load(home.file).settings
    engine = store.connect(settings.database_url)
    with store.transaction(engine) as session:
        checkpoint.sign(session, consent.Keyring.of(settings), now=datetime.now(UTC))
    engine.dispose()


def rewrite(home: Home, *, keep: int | None = None, swap: bool = False) -> None:
    """What an operator with all keys could do: another log, well signed, and no trace of the old.

    keep: only so many events. swap: the first two in the other order.
    """
    settings = config.load(home.file).settings
    engine = store.connect(settings.database_url)
    with store.transaction(engine) as session:
        rows = session.query(store.ConsentEvent).order_by(store.ConsentEvent.position).all()
        commitments = [row.commitment for row in rows][:keep]
        if swap:
            commitments[:2] = commitments[1::-1]
        session.query(store.ConsentTile).delete()
        session.query(store.ConsentCheckpoint).delete()
        session.query(store.ConsentEvent).filter(
            store.ConsentEvent.position >= len(commitments)
        ).delete()
        for row, commitment in zip(rows, commitments, strict=False):
            row.commitment = commitment
        session.get_one(store.Installation, 1).log_size = len(commitments)
        tree.append(session, commitments, log=1, size=0)
    engine.dispose()
    (home.folder / "consent" / "checkpoint").unlink()
    sign(home)


def recover(home: Home) -> None:
    """Begin the next log, as newsletter recover does."""
    settings = config.load(home.file).settings
    engine = store.connect(settings.database_url)
    with store.transaction(engine) as session:
        note = consent.Keyring.of(settings).last_checkpoint() or ""
        consent.record_recovery(session, kept=note, found=note, now=datetime.now(UTC))
    engine.dispose()
    sign(home)


def test_the_log_extends_the_one_in_the_mail(home: Home, mail: Path) -> None:
    """On the same day, and after the log has grown: proven from what is published alone."""
    found = check(home, mail)
    assert found["ok"] is True
    assert found["mail"] == found["log"]
    home.bring_in(*(f"reader-{number}@example.net" for number in range(700)))
    home.run("subscriber", "unsubscribe", "ada@example.net", "--yes")
    home.run("consent", "checkpoint")
    found = check(home, mail)
    assert found["mail"]["size"] == 3  # type: ignore[index]
    assert found["log"]["size"] == 704  # type: ignore[index]
    with served(home) as url:
        said = home.run("consent", "check-witness", mail, "--url", f"{url}/").stdout
    assert "704 events" in said
    assert "3 events" in said


def test_every_reader_got_the_same_checkpoint(home: Home, sink: Sink, mail: Path) -> None:
    """It is frozen with the digest at its approval; the lines are short, the note is whole."""
    assert len(sink.received) == 3
    notes = set()
    for each in sink.received:
        head = each.raw.partition(b"\r\n\r\n")[0].decode()
        field = re.search(rf"^{HEADER}: [^\r]*(?:\r\n [^\r]*)*", head, re.MULTILINE)
        assert field
        assert max(map(len, field[0].split("\r\n"))) <= 76
        notes.add("".join(str(message_from_bytes(each.raw)[HEADER]).split()))
    assert len(notes) == 1
    home.bring_in("dan@example.net")
    home.run("consent", "checkpoint")
    home.run("digest", "preview", 1, "--out", home.folder / "preview")
    shown = message_from_bytes((home.folder / "preview" / "digest.eml").read_bytes())
    assert "".join(str(shown[HEADER]).split()) in notes


def test_an_erasure_breaks_no_witness(home: Home, mail: Path) -> None:
    """Forgetting a person changes no leaf."""
    home.run("subscriber", "erase", "bob@example.net", "--yes")
    home.run("consent", "checkpoint")
    assert check(home, mail)["ok"] is True


@pytest.mark.parametrize(
    ("how", "words"),
    [({"keep": 2}, "taken away"), ({"swap": True}, "does not extend"), ({"keep": None}, None)],
)
def test_a_log_that_was_rewritten_is_found_out(
    home: Home, mail: Path, how: dict[str, int | bool | None], words: str | None
) -> None:
    """However well it is signed, the mail stands against it; the same log built anew passes."""
    rewrite(home, **how)  # type: ignore[arg-type]
    if words is None:
        assert check(home, mail)["ok"] is True
        return
    found = check(home, mail, code=4)
    assert found["ok"] is False
    assert words in str(found["fault"])
    with served(home) as url:
        result = home.run("consent", "check-witness", mail, "--url", url, code=4)
    assert words in result.stderr


def test_a_rewritten_log_that_has_grown_is_found_out(home: Home, mail: Path) -> None:
    """More events on top do not hide that an early one is another."""
    rewrite(home, swap=True)
    settings = config.load(home.file).settings
    engine = store.connect(settings.database_url)
    with store.transaction(engine) as session:
        subscription = session.query(store.Subscription).first()
        evidence = consent.Evidence(actor="subscriber", channel="preferences")
        more = [(consent.Subject.of(subscription), evidence)] * 600
        kind = consent.EventType.PREFERENCES
        consent.record_many(session, kind, more, now=datetime.now(UTC))
    engine.dispose()
    sign(home)
    assert "does not extend" in str(check(home, mail, code=4)["fault"])


def test_a_changed_mail_proves_nothing(home: Home, mail: Path) -> None:
    """Each character of the header counts; without it, there is nothing to check."""
    raw = mail.read_bytes()
    start = raw.index(HEADER.encode()) + len(HEADER) + 2
    end = raw.index(b"Content-Language")
    with served(home) as url:
        for at in range(start, end, 7):
            if raw[at : at + 1].isspace():
                continue
            other = b"A" if raw[at : at + 1] != b"A" else b"B"
            mail.write_bytes(raw[:at] + other + raw[at + 1 :])
            home.run("consent", "check-witness", mail, "--url", url, code=4)
        mail.write_bytes(raw[: start - len(HEADER) - 2] + raw[end:])
        result = home.run("consent", "check-witness", mail, "--url", url, code=1)
        assert HEADER in result.stderr
        mail.unlink()
        home.run("consent", "check-witness", mail, "--url", url, code=1)


def test_a_forwarded_digest_is_a_witness_too(home: Home, mail: Path) -> None:
    """As an attachment it is whole; two different ones in one mail are not guessed between."""
    raw = mail.read_bytes()
    around = (
        b"Subject: Fwd\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
    )
    part = b"--x\r\nContent-Type: message/rfc822\r\n\r\n" + raw + b"\r\n"
    mail.write_bytes(around + part + b"--x--\r\n")
    assert check(home, mail)["ok"] is True
    other = part.replace(HEADER.encode() + b": ", HEADER.encode() + b": AAAA")
    mail.write_bytes(around + part + other + b"--x--\r\n")
    with served(home) as url:
        home.run("consent", "check-witness", mail, "--url", url, code=1)


def test_another_service_is_no_witness(home: Home, mail: Path, tmp_path: Path) -> None:
    """Neither its key nor its log are those that the mail tells of."""
    other = Home(tmp_path / "other")
    home.run("consent", "checkpoint")
    from click.testing import CliRunner

    from newsletter.cli import main

    assert CliRunner().invoke(main, ["init", str(other.folder)]).exit_code == 0
    other.publish()
    other.bring_in("ada@example.net")
    other.run("consent", "checkpoint")
    assert "key" in str(check(other, mail, code=4)["fault"])


def test_a_service_that_is_not_there(home: Home, mail: Path) -> None:
    """What cannot be asked is no proof of anything: exit code 1."""
    words = ("consent", "check-witness", mail, "--url", "http://127.0.0.1:9")
    assert "127.0.0.1" in home.run(*words, code=1).stderr


def test_without_url_the_mail_says_where(home: Home, mail: Path) -> None:
    """By https, and never on the reader's own network: a mail can name any host."""
    result = home.run("consent", "check-witness", mail, code=1)
    assert "https://127.0.0.1:8000/" in result.stderr
    assert "not on the public internet" in result.stderr


def test_missing_tiles_are_a_fault(home: Home, mail: Path) -> None:
    """A service that signs for more than it shows is not believed."""
    home.bring_in("dan@example.net", "flo@example.net")
    home.run("consent", "checkpoint")
    with closing(sqlite3.connect(home.database)) as connection:
        connection.execute("UPDATE consent_tile SET hashes = substr(hashes, 1, 64)")
        connection.commit()
    assert "is missing" in str(check(home, mail, code=4)["fault"])


def test_a_rotated_key_keeps_old_mails_good(home: Home, mail: Path) -> None:
    """The old public half is still published; take it away, and the mail is no longer proven."""
    before = home.run("consent", "key").stdout.strip()
    after = home.run("consent", "rotate-key").stdout.strip()
    assert before != after
    assert home.json("consent", "key") == {"key": after, "old_keys": [before]}
    assert home.run("consent", "key").stdout.strip() == after
    assert check(home, mail)["ok"] is True
    home.bring_in("dan@example.net")
    note = home.json("consent", "checkpoint")["note"]
    open_note(note, [Verifier.parse(after)])
    assert check(home, mail)["ok"] is True
    keys = home.folder / "consent" / "keys"
    keys.write_text(f"{after}\n")
    assert "key" in str(check(home, mail, code=4)["fault"])


def test_rotating_signs_the_newest_checkpoint_anew(home: Home, mail: Path) -> None:
    """Today's key alone is enough for what is proven from today on, also when nothing was added."""
    after = home.json("consent", "rotate-key")["key"]
    found = home.json("consent", "checkpoint")
    assert "3" in open_note(found["note"], [Verifier.parse(after)]).splitlines()
    assert found["size"] == 3
    key = home.folder / "consent" / "key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    home.run("consent", "verify", "--full")


def test_a_key_in_a_setting_is_rotated_there(home: Home, mail: Path) -> None:
    """The command cannot change a setting, and says where; a new one there keeps old mails good."""
    secret = (home.folder / "consent" / "key").read_text().strip()
    (home.folder / "consent" / "key").unlink()
    home.set(consent_key=secret)
    assert "consent_key" in home.run("consent", "rotate-key", code=1).stderr
    assert check(home, mail)["ok"] is True
    fresh = Signer.fresh(Signer.parse(secret).name)
    text = home.file.read_text().replace(secret, fresh.secret)
    home.file.write_text(text)
    assert home.run("consent", "key").stdout.strip() == fresh.verifier.vkey
    home.run("consent", "checkpoint")
    assert check(home, mail)["ok"] is True


def test_after_a_recovery_the_mail_is_still_proven(home: Home, mail: Path) -> None:
    """The new log has all events of the old one behind the recovery's own; so has the third."""
    recover(home)
    found = check(home, mail)
    assert found["log"]["origin"].endswith("/consent-log/2")  # type: ignore[index]
    assert found["log"]["size"] == 4  # type: ignore[index]
    home.bring_in("dan@example.net")
    home.run("consent", "checkpoint")
    home.run("digest", "new", "--publication", "field-notes", "--subject", "Second", 1)
    home.run("digest", "approve", 2)
    home.run("digest", "preview", 2, "--out", home.folder / "two")
    second = home.folder / "two" / "digest.eml"
    assert check(home, second)["ok"] is True
    recover(home)
    assert check(home, mail)["ok"] is True
    found = check(home, second)
    assert found["mail"]["origin"].endswith("/2")  # type: ignore[index]
    assert found["log"]["origin"].endswith("/3")  # type: ignore[index]
    with served(home) as url:
        said = home.run("consent", "check-witness", mail, "--url", url).stdout
    assert "recovery" in said


def test_a_recovery_that_lost_events_is_told(home: Home, mail: Path) -> None:
    """The mail saw three events, the restored database had two: nobody can say it was nothing."""
    rewrite(home, keep=2)
    recover(home)
    assert "lost" in str(check(home, mail, code=4)["fault"])


def test_checkpoint_of_nothing(home: Home) -> None:
    """An empty log is not signed for; a key is there from the start, with its file kept private."""
    assert "empty" in home.run("consent", "checkpoint", code=1).stderr
    vkey = home.run("consent", "key").stdout.strip()
    assert Verifier.parse(vkey).name == "127.0.0.1:8000/consent-log"
    assert stat.S_IMODE((home.folder / "consent").stat().st_mode) == 0o700


def test_checkpoint_is_the_same_while_nothing_happens(home: Home) -> None:
    """It is a signed note: the same log, the same bytes; a grown log, another one."""
    home.publish()
    home.bring_in("ada@example.net")
    first = home.run("consent", "checkpoint").stdout
    assert home.run("consent", "checkpoint").stdout == first
    key = Verifier.parse(home.run("consent", "key").stdout)
    origin, size, _root = open_note(first, [key]).splitlines()
    assert (origin, size) == ("127.0.0.1:8000/consent-log", "1")
    home.bring_in("bob@example.net")
    assert home.run("consent", "checkpoint").stdout != first


def test_tile_paths() -> None:
    """Every tile has one path, and the path gives the tile back."""
    for tile, path in (
        (Tile(0, 0), "0/000"),
        (Tile(1, 67, 17), "1/067.p/17"),
        (Tile(0, 1234067), "0/x001/x234/067"),
        (Tile(63, 1000, 255), "63/x001/000.p/255"),
    ):
        assert tile.path == path
        assert Tile.parse(path) == tile
    for wrong in ("0/x000/000", "0/000.p/256", "64/000", "0/0000", "0/000\n", ""):
        with pytest.raises(BadInput):
            Tile.parse(wrong)


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 600, 66_000])
def test_a_tree_is_read_from_its_tiles(size: int) -> None:
    """Whatever its size, each root and proof comes out of tiles that the size asks for."""
    leaves = [merkle.leaf_hash(number.to_bytes(4)) for number in range(size)]
    levels = [leaves]
    while len(levels[-1]) >= 256:
        row = levels[-1]
        whole = len(row) // 256
        levels.append([merkle.root(row[256 * n : 256 * (n + 1)]) for n in range(whole)])
    asked = []

    def get(path: str) -> bytes:
        asked.append(path)
        tile = Tile.parse(path)
        assert tile.is_in(size)
        assert (
            not Tile(tile.level, tile.number, min(256, tile.width + 1)).is_in(size)
            or tile.width == 256
        )
        start = tile.number * 256
        return b"".join(levels[tile.level][start : start + tile.width])

    read = tiles.reader(size, get)
    assert merkle.stored_root(size, read) == merkle.root(leaves)
    for old in {1, size // 3 or 1, size}:
        proof = merkle.stored_consistency(old, size, read)
        old_root = merkle.root(leaves[:old])
        merkle.verify_consistency(old, size, proof, old_root, merkle.root(leaves))
    assert len(asked) == len(set(asked))
    with pytest.raises(InvalidProof):
        read(0, size)
    with pytest.raises(InvalidProof):
        tiles.reader(size, lambda _path: os.urandom(33))(0, 0)
