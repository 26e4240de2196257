"""Receipts: one person's proof, which anybody checks without us, and which nobody can change."""

from __future__ import annotations

import contextlib
import copy
import hmac
import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter import consent, store
from newsletter.consent import checkpoint, fold, receipt, tree
from newsletter.consent.checkpoint_format import Checkpoint
from newsletter.consent.note import Signer
from newsletter.consent.receipt import verify_receipt as program
from newsletter.errors import ConsentLogError, LogFault, NotFound
from newsletter.subscriptions import erase

PROGRAM = Path(program.__file__)
SCHEMA = json.loads((files("newsletter.consent.receipt") / "receipt.schema.json").read_text())
WORDING = consent.Wording(
    "I agree to the [Privacy Policy] of “Field Notes”.",
    "en",
    "https://example.org/privacy",
    "2026-01",
)


class Log:
    """A log with a key, and hands to write in it."""

    def __init__(self, engine: Any, folder: Path, now: Any) -> None:
        self.engine = engine
        self.keyring = consent.Keyring(folder)
        self.keyring.create("news.example.org/consent-log")
        self.now = now

    @property
    def vkey(self) -> str:
        return self.keyring.signer.verifier.vkey

    def tell(self, address: str, kind: str, *, slug: str = "field-notes", **more: Any) -> None:
        """Append one event about a subscription, a minute after the one before."""
        self.now += timedelta(minutes=1)
        values = {"actor": "subscriber", "channel": "form"} | more
        with store.transaction(self.engine) as session:
            query = session.query(store.Subscription).join(store.Subscriber)
            query = query.join(store.Publication)
            mine = query.filter(
                store.Subscriber.address == address, store.Publication.slug == slug
            ).one()
            evidence = consent.Evidence(**values)
            consent.record(session, consent.EventType(kind), mine, evidence, now=self.now)

    def prove(self, address: str, slug: str | None = None) -> dict[str, Any]:
        """The receipt of one person."""
        with store.transaction(self.engine) as session:
            who = session.query(store.Subscriber).filter_by(address=address).one()
            what = session.query(store.Publication).filter_by(slug=slug).one() if slug else None
            return receipt.build(session, self.keyring, who, what, now=self.now)


@pytest.fixture
def log(
    engine: Any,
    tmp_path: Path,
    now: Any,
    make_publication: Callable[..., Any],
    make_reader: Callable[..., Any],
) -> Log:
    """Ada asked for two publications and confirmed one; others stand between her events."""
    made = Log(engine, tmp_path / "consent", now)
    with store.transaction(engine) as session:
        notes = make_publication(session)
        other = make_publication(session, slug="letters", title="Letters")
        ada = make_reader(session, notes, "ada@example.net", "confirmed")
        make_reader(session, other, "ada@example.net", "pending")
        make_reader(session, notes, "bob@example.net", "pending")
        session.add(
            store.Delivery(
                letter="confirmation",
                publication_id=notes.id,
                subscriber_id=ada.subscriber_id,
                subscription_id=ada.id,
                address="ada@example.net",
                message_id="<m1@example.org>",
                state="accepted",
                due_at=now,
                created_at=now,
                settled_at=now,
                content_sha256=b"\xab" * 32,
            )
        )
    asked = {"box_ticked": True, "wording": WORDING, "language": "en"}
    made.tell("bob@example.net", "requested", **asked)
    made.tell(
        "ada@example.net",
        "requested",
        **asked,
        entered="Ada@example.net",
        message_id="<m1@example.org>",
        client_address="192.0.2.0/24",
        user_agent="Frog/1 ‮evil",
        form_url="https://news.example.org/field-notes/",
    )
    made.tell("ada@example.net", "requested", slug="letters", **asked)
    made.tell("bob@example.net", "requested", **asked)
    made.tell(
        "ada@example.net",
        "confirmed",
        channel="link",
        message_id="<m1@example.org>",
        mail_sha256="ab" * 32,
    )
    return made


@pytest.fixture
def database_kind(request: pytest.FixtureRequest) -> str:
    """SQLite, unless a test says that it goes on both: what a receipt is has no database."""
    return str(getattr(request, "param", "sqlite"))


def check(data: bytes, *keys: str) -> dict[str, Any]:
    return program.verify(data, list(keys))


def signed(log: Log, data: bytes) -> bytes | None:
    """The receipt as an operator would sign it who holds the key; None when it is no receipt."""
    try:
        made = json.loads(data)
        del made["newsletter"]["signature"]
        made["newsletter"]["signature"] = log.keyring.signer.sign(program.signed_text(made))
        return program.serialized(made)
    except (ValueError, KeyError, TypeError):
        return None


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every value of a JSON document that holds no others, with its path."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for name, below in pairs:
            yield from leaves(below, (*path, name))
    else:
        yield path, value


def changed(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    return f"{value}x" if value else "x"


@pytest.mark.parametrize("database_kind", ["sqlite", "postgresql"], indirect=True)
def test_a_receipt_says_what_was_agreed_to(log: Log) -> None:
    """The exact words, their version, the policy, the mail, and when it was confirmed."""
    made = check(receipt.written(log.prove("ada@example.net")), log.vkey)
    notes, letters = made["newsletter"]["agreements"]
    assert (notes["publication"], notes["state"]) == ("field-notes", "confirmed")
    assert notes["confirmed_at"] == "2026-03-01T12:05:00.000000Z"
    assert notes["requested_at"] == "2026-03-01T12:02:00.000000Z"
    assert notes["declared"]["wording"] == "I agree to the Privacy Policy of “Field Notes”."
    assert notes["declared"]["wording_version"] == WORDING.version
    assert notes["declared"]["privacy_version"] == "2026-01"
    assert notes["declared"]["box_ticked"] is True
    assert notes["mails"] == [
        {"message_id": "<m1@example.org>", "sha256": "ab" * 32, "positions": [1, 4]}
    ]
    assert (letters["publication"], letters["state"]) == ("letters", "pending")
    (mail,) = made["newsletter"]["stated"]["mails"]
    assert mail["settled_at"] == "2026-03-01T12:00:00.000000Z"
    states = [each["event_state"] for each in made["consent_records"][0]["events"]]
    assert [each.rpartition("#")[2] for each in states] == ["ConsentRequested", "ConsentGiven"]


def test_a_receipt_tells_nothing_about_others(log: Log) -> None:
    """Only this person's events are in it, and no key but that of each event."""
    data = receipt.written(log.prove("ada@example.net"))
    assert b"bob@" not in data
    with store.reading(log.engine) as session:
        for each in session.query(store.Subscriber):
            assert each.key.hex().encode() not in data
    (only,) = log.prove("ada@example.net", "letters")["newsletter"]["agreements"]
    assert only["publication"] == "letters"


def test_every_changed_byte_fails(log: Log) -> None:
    """Whatever byte of the file is changed, it does not verify."""
    data = receipt.written(log.prove("ada@example.net"))
    check(data, log.vkey)
    for index in range(len(data)):
        with pytest.raises(program.Invalid):
            check(data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :], log.vkey)


def test_bytes_that_are_taken_out_or_put_in_fail(log: Log) -> None:
    """Blanks and line breaks too: there is one spelling for one receipt."""
    data = receipt.written(log.prove("ada@example.net", "letters"))
    for index in range(len(data) + 1):
        for other in (
            data[:index] + data[index + 1 :],
            data[:index] + b" " + data[index:],
            data[:index] + bytes([data[index - 1] ^ 0x20]) + data[index + 1 :],
        ):
            if other != data:
                with pytest.raises(program.Invalid):
                    check(other, log.vkey)


def test_the_operator_cannot_change_what_is_proven(log: Log) -> None:
    """Signed anew with the operator's own key, only the operator's own statements can differ."""
    data = receipt.written(log.prove("ada@example.net"))
    assert signed(log, data) == data
    loose = set()
    for path, value in leaves(json.loads(data)):
        other = json.loads(data)
        place = other
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = changed(value)
        again = signed(log, json.dumps(other).encode())
        assert again is not None
        if path == ("newsletter", "signature"):
            continue
        try:
            check(again, log.vkey)
        except program.Invalid:
            continue
        loose.add(".".join(map(str, path[:2])))
    # Nothing: what is stated goes into the receipt's id, and into the controllers.
    assert loose == set()


def test_each_byte_that_the_operator_changes_fails_outside_the_statements(log: Log) -> None:
    """With a fitting id and signature, what verifies differs under newsletter.stated alone."""
    data = receipt.written(log.prove("ada@example.net", "letters"))
    before = json.loads(data)
    for index in range(len(data)):
        again = signed(log, data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :])
        if again is None or again == data:
            continue
        own = json.loads(again).get("newsletter", {})
        try:
            derived = program.compose(own["events"], own["stated"], own["checkpoint"])
            # As generous as can be: all that follows is made to follow from the changed parts.
            derived["newsletter"]["signature"] = log.keyring.signer.sign(
                program.signed_text(derived)
            )
            after = check(program.serialized(derived), log.vkey)
        except (program.Invalid, KeyError, TypeError, AttributeError):
            continue
        for name in ("events", "summary", "agreements", "checkpoint"):
            assert after["newsletter"][name] == before["newsletter"][name]
        assert after["consent_records"] == before["consent_records"]


def test_left_out_moved_and_borrowed_events_fail(log: Log) -> None:
    """An event of another person, another order or another opening does not pass."""
    ada, bob = log.prove("ada@example.net"), log.prove("bob@example.net")
    mine, theirs = ada["newsletter"]["events"], bob["newsletter"]["events"]
    assert ada["newsletter"]["checkpoint"] == bob["newsletter"]["checkpoint"]
    stated, note = ada["newsletter"]["stated"], ada["newsletter"]["checkpoint"]
    for events, fault in (
        ([mine[1], mine[0]], "order"),
        ([mine[0], mine[0]], "order"),
        ([theirs[0], mine[0]], "more than one person"),
        ([mine[0] | {"opening": mine[1]["opening"]}], "do not lead to the root"),
        ([mine[0] | {"proof": mine[1]["proof"]}], "it says position"),
    ):
        made = program.compose(events, stated, note)
        made["newsletter"]["signature"] = log.keyring.signer.sign(program.signed_text(made))
        with pytest.raises(program.Invalid, match=fault):
            check(program.serialized(made), log.vkey)


def test_the_schema_fits(log: Log) -> None:
    """What is made is what the schema says, and each member that it requires is needed."""
    validator = jsonschema.Draft202012Validator
    validator.check_schema(SCHEMA)
    made = log.prove("ada@example.net")
    assert [error.message for error in validator(SCHEMA).iter_errors(made)] == []

    def strict(schema: Any) -> Iterator[Any]:
        if isinstance(schema, dict):
            if "properties" in schema and schema is not SCHEMA["$defs"]["logged"]:
                yield schema
            for below in schema.values():
                yield from strict(below)
        elif isinstance(schema, list):
            for below in schema:
                yield from strict(below)

    for each in strict(SCHEMA):
        assert each["additionalProperties"] is False
        assert set(each["required"]) == set(each["properties"])
    for name in made["newsletter"]:
        other = copy.deepcopy(made)
        del other["newsletter"][name]
        assert not validator(SCHEMA).is_valid(other)


def test_old_receipts_verify_after_a_rotation(log: Log) -> None:
    """With the old key among the keys; a new receipt needs the new key alone."""
    old_key, old = log.vkey, receipt.written(log.prove("ada@example.net"))
    log.keyring.rotate()
    assert log.vkey != old_key
    check(old, old_key)
    check(old, log.vkey, old_key)
    with pytest.raises(program.Invalid, match="none of the given keys"):
        check(old, log.vkey)
    new = receipt.written(log.prove("ada@example.net"))
    check(new, log.vkey)


def test_a_receipt_outlives_the_person_here(log: Log) -> None:
    """After erasure nothing can be proven any more, and what was kept still verifies."""
    kept = receipt.written(log.prove("ada@example.net"))
    with store.transaction(log.engine) as session:
        ada = session.query(store.Subscriber).filter_by(address="ada@example.net").one()
        by = consent.Evidence(actor="operator", channel="command")
        erase.forget(session, ada, by, hash_key=b"h" * 32, now=log.now)
    with store.transaction(log.engine) as session:
        checkpoint.sign(session, log.keyring, now=log.now)
    assert check(kept, log.vkey)["pii_principal_id"] == "ada@example.net"
    assert check(receipt.written(log.prove("bob@example.net")), log.vkey)


def test_a_checkpoint_is_signed_when_the_newest_does_not_cover(log: Log) -> None:
    """Covered events use the newest checkpoint as it is, however the log has grown since."""
    first = log.prove("ada@example.net")["newsletter"]["checkpoint"]
    log.tell("bob@example.net", "withdrawn")
    assert log.prove("ada@example.net")["newsletter"]["checkpoint"] == first
    log.tell("ada@example.net", "withdrawn")
    last = log.prove("ada@example.net")
    assert last["newsletter"]["checkpoint"].split("\n")[1] == "7"
    assert last["newsletter"]["agreements"][0]["state"] == "unsubscribed"
    assert last["newsletter"]["agreements"][0]["ended_at"] == "2026-03-01T12:07:00.000000Z"


def test_receipts_go_on_after_a_recovery(log: Log) -> None:
    """Events from before it are proven in the new log, at the leaf where they are now."""
    log.prove("ada@example.net")
    kept = log.keyring.last_checkpoint()
    assert kept
    with store.transaction(log.engine) as session:
        consent.record_recovery(session, kept=kept, found=kept, now=log.now)
    log.tell("ada@example.net", "withdrawn")
    made = check(receipt.written(log.prove("ada@example.net")), log.vkey)
    proofs = [each["proof"].split("\n")[1] for each in made["newsletter"]["events"]]
    assert proofs == ["index 2", "index 3", "index 5", "index 6"]
    assert made["newsletter"]["checkpoint"].startswith("news.example.org/consent-log/2\n")


def test_no_receipt_is_made_that_would_not_verify(log: Log) -> None:
    """A changed event gives an error instead of a receipt; so does a person without events."""
    log.prove("ada@example.net")
    with store.transaction(log.engine) as session:
        row = session.get(store.ConsentEvent, 1)
        assert row and row.body
        row.body = row.body.replace(b"Ada@", b"Eve@")
    with pytest.raises((ConsentLogError, LogFault)):
        log.prove("ada@example.net")
    with store.transaction(log.engine) as session:
        nobody = store.Subscriber(
            address="cy@example.net", address_key="cy@example.net", created_at=log.now
        )
        session.add(nobody)
    with pytest.raises(NotFound):
        log.prove("cy@example.net")


def test_the_page_has_the_whole_receipt(log: Log) -> None:
    """It loads nothing, runs nothing, links nowhere, and carries the file that verifies."""
    import base64
    import re

    log.tell("ada@example.net", "preferences", note="<script>alert(1)</script>")
    made = log.prove("ada@example.net")
    text = receipt.html(made, "en")
    assert text.startswith("<!doctype html>")
    assert "<script" not in text
    assert "I agree to the Privacy Policy of “Field Notes”." in text
    assert "March 1, 2026, 12:05 UTC" in text
    (target,) = re.findall(r'(?:href|src)="([^"]*)"', text)
    data = base64.b64decode(target.removeprefix("data:application/json;base64,"))
    assert data == receipt.written(made)
    check(data, log.vkey)
    for entry in made["newsletter"]["events"]:
        assert entry["opening"] in text


def test_a_stranger_checks_it_offline(log: Log, tmp_path: Path) -> None:
    """One copied file, a Python with nothing but cryptography, and no network."""
    (tmp_path / "alone").mkdir()
    alone = shutil.copy(PROGRAM, tmp_path / "alone" / "verify_receipt.py")
    file = tmp_path / "ada.json"
    data = receipt.written(log.prove("ada@example.net"))
    file.write_bytes(data)
    good = _stranger(tmp_path, alone, str(file), "--key", log.vkey)
    assert good.returncode == 0, good.stderr
    assert "The receipt verifies." in good.stdout
    assert "I agree to the Privacy Policy of “Field Notes”." in good.stdout
    assert "confirmed  2026-03-01T12:05:00" in good.stdout
    # A stranger's words do not turn the terminal's text around.
    assert "Frog/1 \\u{202e}evil" in good.stdout
    file.write_bytes(data.replace(b"Field Notes", b"Field Votes", 1))
    bad = _stranger(tmp_path, alone, str(file), "--key", log.vkey)
    assert (bad.returncode, bad.stdout) == (1, "")
    assert bad.stderr.startswith("NOT VALID (")
    gone = _stranger(tmp_path, alone, str(tmp_path / "none.json"), "--key", log.vkey)
    assert gone.returncode == 1


def _stranger(tmp_path: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python with `cryptography` and its own needs alone, without a network where we may."""
    libraries = tmp_path / "libraries"
    if not libraries.exists():
        libraries.mkdir()
        import _cffi_backend
        import cffi
        import cryptography

        for part in (cryptography, cffi):
            (libraries / part.__name__).symlink_to(Path(part.__file__).parent)
        backend = Path(_cffi_backend.__file__)
        (libraries / backend.name).symlink_to(backend)
    start = (
        "import sys, runpy; sys.path.append(sys.argv[1]); sys.argv = sys.argv[2:]\n"
        "import importlib.util\n"
        "assert not any(map(importlib.util.find_spec, ('newsletter', 'sqlalchemy', 'jinja2')))\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    words = [sys.executable, "-I", "-S", "-X", "utf8", "-c", start, str(libraries), *command]
    fence = ["unshare", "--net", "--map-root-user"]
    if (
        shutil.which("unshare")
        and not subprocess.run([*fence, "true"], capture_output=True).returncode
    ):
        words = [*fence, *words]
    return subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, encoding="utf-8")


def test_the_program_imports_nothing_of_ours() -> None:
    """It is one file of the standard library and cryptography."""
    import ast

    named = set()
    for node in ast.walk(ast.parse(PROGRAM.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            named |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            named.add((node.module or "").partition(".")[0])
    assert named - sys.stdlib_module_names == {"cryptography"}


KINDS = [kind for kind in consent.EventType if kind not in ("erased", "recovered")]


def test_the_program_folds_as_the_log_does() -> None:
    """Its states are those of newsletter.consent.fold, for every sequence of four events."""
    for kinds in itertools.product(KINDS, repeat=4):
        state, states = None, {}
        for kind in kinds:
            event = {"type": str(kind), "subscription": "s", "status": "confirmed"}
            fold.apply(states, event)
            state = program.follow(state, event)
            assert state == states.get("s"), kinds


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(data=st.binary(), value=json_values, spot=st.integers(0), key=st.text())
def test_what_is_no_receipt_fails_plainly(data: bytes, value: Any, spot: int, key: str) -> None:
    """Whatever the file or the key is, the answer is Invalid and never a fault of the program."""
    for file in (data, json.dumps(value).encode("utf-8", "surrogatepass")):
        with pytest.raises(program.Invalid):
            check(file, key)
    sample = _sample()
    paths = [path for path, _value in leaves(sample)]
    path = paths[spot % len(paths)]
    place = sample
    for name in path[:-1]:
        place = place[name]
    if place[path[-1]] == value and type(place[path[-1]]) is type(value):
        return
    place[path[-1]] = value
    with pytest.raises(program.Invalid):
        check(json.dumps(sample).encode("utf-8", "surrogatepass"), SIGNER.verifier.vkey)
    if path == ("newsletter", "signature"):
        return
    again = json.loads(json.dumps(sample))
    again["newsletter"].pop("signature", None)
    with contextlib.suppress(UnicodeEncodeError):
        again["newsletter"]["signature"] = SIGNER.sign(program.signed_text(again))
        with pytest.raises(program.Invalid):
            check(program.serialized(again), SIGNER.verifier.vkey)


SIGNER = Signer.fresh("log")


def _sample() -> dict[str, Any]:
    """A receipt from a log of one event."""
    names = "schema event_id type time actor channel publication subscriber subscription address"
    event = dict.fromkeys(names.split(), "x") | {"position": 0, "wording": "w", "message_id": "m"}
    commitment = hmac.digest(bytes(32), program.canonical(event), "sha256")
    note = SIGNER.sign(Checkpoint("log", 1, tree.leaf_hash(commitment)).text)
    entry = {"event": event, "opening": "00" * 32, "proof": program.proof_text(0, [], note)}
    stated = dict.fromkeys(("issued_at", "only_publication", "checkpoint_signed_at"), "x")
    made = program.compose([entry], stated | {"publications": [], "mails": []}, note)
    made["newsletter"]["signature"] = SIGNER.sign(program.signed_text(made))
    program.verify(program.serialized(made), [SIGNER.verifier.vkey])
    return made
