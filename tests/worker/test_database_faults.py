"""A database that fails for a moment, wherever the sending loop asks it for something.

The dots of some mails are out each time: whether these arrived must not be forgotten over it.
"""

from __future__ import annotations

import ast
import sqlite3
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mailing import approved_digest, leave, many_readers, queue_all, states, tell_log
from sqlalchemy import select, text, update
from sqlalchemy.exc import OperationalError

from newsletter import store
from newsletter import worker as room
from newsletter.store.doubt import RETRY_BY_ITSELF, RETRY_UNCERTAIN
from newsletter.worker import Sender, Stop, smtp_pool
from newsletter.worker.job import Job

READERS = 90
EVERYBODY = [f"reader-{n}@example.net" for n in range(READERS)]
# What happens beside the mails that simply arrive, so that the loop asks for all that it can.
LEFT, NO_ADDRESS, CHANGED, TOO_LATE = EVERYBODY[70:74]
NO_COMMAND = "reader@"  # cannot stand in a command


def sites() -> set[str]:
    """The functions of the sending loop that begin a transaction."""
    found = set()
    for name in ("handover", "rounds", "supply"):
        source = Path(room.__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
        for function in ast.walk(ast.parse(source)):
            if isinstance(function, ast.FunctionDef):
                found |= {
                    f"{function.name} {node.func.attr}s"
                    for node in ast.walk(function)
                    if isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr in ("read", "write")
                    and ast.unparse(node.func.value).endswith("job")
                }
    return found


class Trouble:
    """Each place where the sending loop begins a transaction, failing once there.

    when: "begin": nothing of the transaction was done, "commit": all but its end, "answer": all of
    it, and the sender is not told. may: whether it may happen now. kinds: what PostgreSQL does:
    ends the connection, or says that there was a deadlock (40P01), or a conflict (40001).
    """

    kinds = ("terminated", "40P01", "40001")

    def __init__(self, engine, when, may=lambda: True, only=None):
        self.engine, self.when, self.may = engine, when, may
        self.only = sites() if only is None else only
        self.met = Counter()

    def strikes(self, site):
        is_time = site in self.only and not self.met[site] and self.may()
        # What was claimed and is not held is only looked for after a claim that failed.
        if is_time and (site != "refill writes" or self.met["_claim writes"]):
            self.met[site] += 1
            return True
        return False

    def __call__(self, session):
        if self.engine.dialect.name == "sqlite":
            raise _locked()
        kind = self.kinds[sum(self.met.values()) % len(self.kinds)]
        if kind != "terminated":
            say = f"DO $$ BEGIN RAISE EXCEPTION 'trouble' USING ERRCODE = '{kind}'; END $$"
            session.connection().exec_driver_sql(say)
        number = session.connection().exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        with self.engine.connect() as other:
            other.execute(text("SELECT pg_terminate_backend(:number, 5000)"), {"number": number})


def _locked():
    return OperationalError("COMMIT", None, sqlite3.OperationalError("database is locked"))


class TroubledJob(Job):
    """A job whose transactions fail now and then."""

    def write(self) -> AbstractContextManager:
        return self._troubled(super().write, f"{sys._getframe(1).f_code.co_name} writes")

    def read(self) -> AbstractContextManager:
        return self._troubled(super().read, f"{sys._getframe(1).f_code.co_name} reads")

    @contextmanager
    def _troubled(self, begin, site) -> Iterator:
        is_loop = threading.current_thread().name.startswith(("handover", "rounds"))
        trouble = TROUBLES[self.owner] if is_loop else None
        strikes = trouble is not None and trouble.strikes(site)
        with begin() as session:
            if strikes and trouble.when == "begin":
                trouble(session)
            yield session
            if strikes and trouble.when == "commit":
                trouble(session)
        if strikes and trouble.when == "answer":
            raise _locked()


TROUBLES: dict[str, Trouble] = {}


class TroubledSender(Sender):
    """A sender that meets `trouble`."""

    def __init__(self, trouble, settings):
        super().__init__(trouble.engine, settings, smtp_pool(settings), relay_delay=0.01)
        self.trouble = trouble

    def _job(self, *args):
        job = super()._job(*args)
        TROUBLES[job.owner] = self.trouble
        return TroubledJob(
            **{each.name: getattr(job, each.name) for each in fields(job) if each.init}
        )


def set_row(session, reader, **values):
    mine = store.Delivery.address == reader
    session.execute(update(store.Delivery).where(mine).values(**values))


@pytest.fixture
def relay(settings, sink):
    """The settings with the sink as relay, on four connections."""
    return settings.model_copy(
        update={"smtp_url": type(settings.secret_key)(sink.url), "smtp_connections": 4}
    )


@pytest.fixture
def digest_id(engine, make_publication, make_reader, now):
    """A digest that is being sent to READERS readers, and to some with whom something is wrong.

    Behind it one whose sender the relay refuses, and one that it refuses for policy.
    """
    moment = datetime.now(UTC)
    with store.transaction(engine) as session:
        digest = approved_digest(session, make_publication(session), now)
        many_readers(session, digest.publication, READERS, now)
        impossible = store.Subscriber(address=NO_COMMAND, address_key=NO_COMMAND, created_at=now)
        session.add(impossible)
        made = {"state": "confirmed", "pending_since": now, "confirmed_at": now, "created_at": now}
        subscription = store.Subscription(
            publication=digest.publication, subscriber=impossible, **made
        )
        session.add(subscription)
        session.flush()
        tell_log(session, subscription, now)
        refused = make_publication(session, "other", from_address="other@example.com")
        for number in range(5):
            make_reader(session, refused, f"other-{number}@example.net")
        queue_all(session, digest, moment)
        queue_all(session, approved_digest(session, refused, now), moment)
        third = make_publication(session, "third")
        for number in range(5):
            make_reader(session, third, f"third-{number}@example.net")
        queue_all(session, approved_digest(session, third, now), moment)
        doubt = {"content_sha256": b"x" * 32}
        set_row(session, NO_ADDRESS, address="reader-71@")
        set_row(session, CHANGED, reason=RETRY_UNCERTAIN, **doubt)
        long_ago = moment - timedelta(days=3)
        set_row(session, TOO_LATE, reason=RETRY_BY_ITSELF, created_at=long_ago, **doubt)
    leave(engine, LEFT, moment)
    return digest.id


class Slow:
    """A script of the sink: one dot after another is answered late, and some things go wrong."""

    seconds = 3.0

    def __init__(self):
        self.held_at = float("-inf")
        self.begun = 0

    def __call__(self, stage, argument):
        if stage == "dot" and time.monotonic() - self.held_at > self.seconds / 2:
            self.held_at = time.monotonic()
            return f"after {self.seconds} 250 ok"
        if (stage, argument) == ("mail", "other@example.com"):
            return "553 5.1.8 no such sender"
        if stage == "rcpt" and argument.startswith("third"):
            return "550 5.7.1 not from you"
        self.begun += stage == "mail"
        return "451 4.3.0 busy" if stage == "mail" and self.begun == 20 else None

    def is_out(self):
        """Whether some mail has its dot and no answer yet."""
        return time.monotonic() - self.held_at < self.seconds * 0.95


def told(engine):
    """(state, reason) of each row of the first digest that did not simply arrive."""
    with store.reading(engine) as session:
        rows = session.scalars(
            select(store.Delivery).where(
                store.Delivery.digest_id == 1, store.Delivery.state != "accepted"
            )
        )
        return {row.address: (row.state, row.reason) for row in rows}


@pytest.mark.parametrize(
    ("database_kind", "when"),
    [("sqlite", "begin"), ("sqlite", "commit"), ("postgresql", "begin"), ("postgresql", "answer")],
)
def test_each_place_may_fail_once(engine, relay, sink, digest_id, when):
    """The sender lives on; in the end each mail went out once, and none is in doubt over it."""
    sink.reply = slow = Slow()
    trouble = Trouble(engine, when, may=slow.is_out)
    TroubledSender(trouble, relay).run(threading.Event(), until_idle=True)
    assert sites() - set(trouble.met) == set()
    assert told(engine) == {
        LEFT: ("skipped", "unsubscribed"),
        "reader-71@": ("failed", "unwritable"),
        NO_COMMAND: ("failed", "unwritable"),
        CHANGED: ("uncertain", "changed"),
        TOO_LATE: ("uncertain", "too-late"),
    }
    copies = Counter(mail.recipients[0] for mail in sink.received)
    assert copies == Counter(EVERYBODY) - Counter([LEFT, NO_ADDRESS, CHANGED, TOO_LATE])
    # Those of the digest whose sender is refused, and of the one that is.
    assert states(engine)["queued"] + states(engine)["deferred"] == 10


def test_the_end_may_fail_too(engine, relay, sink, digest_id):
    """A database that is locked when the sender stops at once: it ends well, and holds no row."""
    stop = Stop()

    def reply(_stage, _argument):
        if len(sink.received) == 10:
            stop.at_once.set()
            stop.set()

    sink.reply = reply
    last = {"write writes", "give_back writes"}
    trouble = Trouble(engine, "begin", may=stop.is_set, only=last)
    TroubledSender(trouble, relay).run(stop)
    assert set(trouble.met) == last
    assert not set(states(engine)) & {"claimed", "armed"}
    assert states(engine)["accepted"] <= len(sink.received)


class HangUp(Trouble):
    """The relay hangs up on everybody while a round is written, and then that round fails."""

    def __init__(self, engine, sink):
        super().__init__(engine, "begin", only={"write writes"})
        self.sink = sink

    def __call__(self, session):
        self.sink.stop()
        self.sink.start()
        time.sleep(0.3)  # the loop, which goes on talking to the relay, notices
        super().__call__(session)


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_the_relay_hangs_up_while_a_round_fails(engine, relay, sink, make_publication, now):
    """The first round arms a mail whose line is gone by then: it has its answer, and arrives."""
    with store.transaction(engine) as session:
        digest = approved_digest(session, make_publication(session), now)
        many_readers(session, digest.publication, 20, now)
        queue_all(session, digest, datetime.now(UTC))
    trouble = HangUp(engine, sink)
    soon = relay.model_copy(update={"retry_delay": 0.1})
    TroubledSender(trouble, soon).run(threading.Event(), until_idle=True, digest_id=1, wait=True)
    assert trouble.met == {"write writes": 1}
    assert states(engine) == {"accepted": 20}
    assert Counter(mail.recipients[0] for mail in sink.received) == Counter(EVERYBODY[:20])
