"""While the consent log has a fault: which commands stop with exit code 4, and which go on."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable

import pytest
from commandline import Home
from sqlalchemy import text

from newsletter import config, store
from newsletter.consent import checkpoint
from newsletter.errors import LogFault
from newsletter.mail.sink import Sink
from newsletter.worker import Sender, smtp_pool

ARTICLE = "---\ntitle: Harvest\nsummary: What grew.\n---\nThe whole story.\n"
OLDER, HALTED = "an older database", "found by a verification"


@pytest.fixture
def ready(home: Home, sink: Sink) -> Home:
    """Two readers, an approved digest (1), a draft (2), and a relay."""
    home.set(smtp_url=sink.url, smtp_connections=1)
    home.publish()
    home.bring_in("ada@example.net", "bob@example.net")
    home.run("article", "add", home.write("harvest.md", ARTICLE))
    for subject in ("First", "Second"):
        home.run("digest", "new", "--publication", "field-notes", "--subject", subject, 1)
    home.run("digest", "approve", 1)
    return home


@pytest.fixture(params=[OLDER, HALTED])
def faulty(request: pytest.FixtureRequest, ready: Home) -> Home:
    """The same with a fault of the log."""
    if request.param == HALTED:
        halt(ready)
    else:
        ready.run("backup", ready.folder / "old.db")
        ready.bring_in("dan@example.net")
        ready.run("consent", "checkpoint")
        put_back(ready)
    return ready


def halt(home: Home) -> None:
    with_engine(home, lambda session: checkpoint.halt(session, "position 0: the event is missing"))


def mend(home: Home) -> None:
    with_engine(home, checkpoint.go_on)


def with_engine(home: Home, change: Callable[..., None]) -> None:
    engine = store.connect(config.load(home.file).settings.database_url)
    with store.transaction(engine) as session:
        change(session)
    engine.dispose()


def put_back(home: Home) -> None:
    for suffix in ("-wal", "-shm"):
        home.database.with_name(home.database.name + suffix).unlink(missing_ok=True)
    shutil.copy(home.folder / "old.db", home.database)


def test_nobody_is_brought_in_and_nothing_is_sent(faulty: Home, sink: Sink) -> None:
    """Each command that would do it says what is wrong and what to do, and changes nothing."""
    people = faulty.write("more.csv", "email\neve@example.net\n")
    words = ("--publication", "field-notes", "--status", "confirmed", "--evidence", "a test")
    for command in (
        ("subscriber", "import", people, *words),
        ("digest", "approve", 2),
        ("digest", "test", 1, "--to", "me@example.org"),
        ("send", 1),
        ("send", 1, "--queue"),
        ("send", 1, "--at", "2099-01-01 08:00"),
        ("worker",),
        ("consent", "checkpoint"),
    ):
        said = faulty.run(*command, code=4).stderr
        assert "newsletter recover" in said or "newsletter consent verify --full" in said, command
    assert sink.received == []
    assert len(faulty.json("subscriber", "list")) == 2
    assert [each["state"] for each in faulty.json("digest", "list")] == ["draft", "approved"]


def test_everything_else_goes_on(faulty: Home) -> None:
    """Leaving and erasing above all; and whatever looks, writes articles, or makes a backup."""
    for command in (
        ("subscriber", "list"),
        ("subscriber", "show", "ada@example.net"),
        ("subscriber", "export", "--out", faulty.folder / "all.csv"),
        ("consent", "log"),
        ("consent", "key"),
        ("digest", "new", "--publication", "field-notes", "--subject", "Third", 1),
        ("digest", "preview", 3),
        ("send", 1, "--dry-run"),
        ("status",),
        ("backup", faulty.folder / "copy.db"),
        ("subscriber", "unsubscribe", "ada@example.net", "--yes"),
        ("subscriber", "erase", "bob@example.net", "--yes"),
        ("digest", "cancel", 1),
    ):
        faulty.run(*command)
    (left,) = faulty.json("subscriber", "list")
    assert left["state"] == "unsubscribed"


def test_status_tells_why_nothing_is_sent(faulty: Home) -> None:
    """An operator's first look finds it, once a command or a worker has met it."""
    faulty.run("send", 1, code=4)
    assert faulty.json("status")["log_fault"]
    assert "stand still" in faulty.run("status").stderr


def test_a_key_can_be_rotated_whatever_is_wrong(faulty: Home) -> None:
    """A key that others have seen must go; nothing is signed with the new one before a cure."""
    result = faulty.run("consent", "rotate-key")
    assert "nothing is signed" in result.stderr
    assert result.stdout.strip() == faulty.run("consent", "key").stdout.strip()


def test_a_running_worker_stops_and_goes_on(ready: Home, sink: Sink) -> None:
    """A fault that shows while it runs makes it wait, alive; when it is mended, it sends."""
    settings = config.load(ready.file).settings
    engine = store.connect(settings.database_url)
    stop = threading.Event()
    sender = Sender(engine, settings, smtp_pool(settings))
    thread = threading.Thread(target=sender.run, args=(stop,))
    thread.start()
    try:
        halt(ready)
        time.sleep(1.5)
        ready.run("send", 1, "--queue", code=4)
        assert thread.is_alive()
        assert sink.received == []
        mend(ready)
        ready.run("send", 1, "--queue")
        until = time.monotonic() + 20
        while len(sink.received) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        assert len(sink.received) == 2
    finally:
        stop.set()
        thread.join()
        engine.dispose()


def test_a_send_that_meets_a_fault_raises_it(ready: Home, sink: Sink) -> None:
    """Whoever waits at a terminal is told; nothing went out."""
    settings = config.load(ready.file).settings
    engine = store.connect(settings.database_url)
    halt(ready)
    sender = Sender(engine, settings, smtp_pool(settings))
    with pytest.raises(LogFault):
        sender.run(threading.Event(), until_idle=True, digest_id=1)
    engine.dispose()
    assert sink.received == []


def test_serve_serves_on(faulty: Home, sink: Sink) -> None:
    """The pages are there for whoever wants to leave; standard error says what stands still."""
    process = faulty.process("serve", "--port", "0")
    assert process.stderr is not None
    try:
        said = ""
        for line in process.stderr:
            said += line
            if "is served on" in line:
                break
        assert "stand still" in said
        time.sleep(1.5)
        assert process.poll() is None
    finally:
        process.terminate()
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
    assert process.returncode == 0
    assert sink.received == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE consent_event SET body = CAST(replace(body, 'import', 'imPort') AS BLOB)",
        "DELETE FROM consent_event WHERE position = 0",
        "UPDATE consent_event SET commitment = zeroblob(32) WHERE position = 1",
        "UPDATE subscriber SET address = 'evil@example.org' WHERE id = 1",
        "UPDATE consent_tile SET hashes = zeroblob(64)",
    ],
)
def test_a_changed_row_stops_the_next_send_by_itself(
    ready: Home, sink: Sink, statement: str
) -> None:
    """Nobody has to verify first: exit code 4, the position is named, and no mail goes out."""
    before = len(sink.received)
    with_engine(ready, lambda session: session.execute(text(statement)))
    told = ready.run("send", 1, code=4).stderr
    # The guard knows a changed tile before anything is verified.
    assert ("position" in told and "verify --full" in told) or "not those that were signed" in told
    assert ready.run("consent", "verify", code=4).exit_code == 4
    ready.run("digest", "approve", 2, code=4)
    assert len(sink.received) == before
