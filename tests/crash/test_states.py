"""The states of deliveries, whatever happens in whatever order: two workers, a relay, people.

Hypothesis plays; each step is a call of newsletter.sending as a worker or an operator makes it.
What the relay took is known only to the model. After each step the rows are held against it.
"""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from crash import rows
from crash.checker import LEGAL, RETRIED
from crash.world import in_memory, populate
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from mailing import HASH_KEY, ORIGIN, worker
from sqlalchemy import select
from sqlalchemy.orm import Session

from newsletter import consent, store
from newsletter.errors import WrongState
from newsletter.mail.transport import Reply
from newsletter.sending import claim, control, retry, settle, status, write
from newsletter.sending.pace import Retries
from newsletter.subscriptions import erase, leave

READERS, DIGESTS = 5, 3
RETRIES = Retries(60, 600, 86_400)
WORKERS = st.sampled_from(["ada", "ben"])
PICK = st.integers(0, 100)
ANSWERS = st.sampled_from(["250", "451", "550", "taken and lost", "lost"])
# Whatever ends the game for some rows happens seldom.
WORDS = [
    *["pause"] * 3,
    *["resume"] * 6,
    *["retry failed"] * 4,
    *["retry uncertain"] * 2,
    *["leaves"] * 2,
    "is erased",
    "cancel",
]


@dataclass
class Hand:
    """What one worker holds in its memory, right or not. waits: dots that got no answer yet."""

    mails: list[write.Mail] = field(default_factory=list)
    armed: list[write.Mail] = field(default_factory=list)
    waits: list[tuple[write.Mail, Reply | None]] = field(default_factory=list)
    # It slept beyond its lease since it armed something: the dots of that may not be written.
    overslept: bool = False

    def holds(self) -> bool:
        return bool(self.mails or self.armed or self.waits)


class Machine(RuleBasedStateMachine):
    """`begin` gives the address of a database with a few readers and digests."""

    begin: Callable[[], str]

    def __init__(self) -> None:
        super().__init__()
        self.url = type(self).begin()
        self.engine = store.connect(self.url)
        self.now = datetime.now(UTC) + timedelta(minutes=1)
        self.hands = {"ada": Hand(), "ben": Hand()}
        self.taken: Counter[int] = Counter()
        self.allowed: Counter[int] = Counter()  # copies that an operator's word allows
        self.sha: dict[int, bytes] = {}
        self.left: set[int] = set()  # rows of readers who left
        self.queued = {each.delivery: each for each in rows.queued(self.url)}
        self.dots = self.changes = 0
        self.open = ExitStack()
        self.reader = self.open.enter_context(rows.opened(self.url))
        for name in self.hands:
            self.renew(name)

    def teardown(self) -> None:
        self.engine.dispose()
        self.open.close()

    @contextmanager
    def write(self) -> Iterator[Session]:
        with store.transaction(self.engine) as session:
            yield session

    def someone(self, holds: str) -> bool:
        return any(getattr(hand, holds) for hand in self.hands.values())

    def with_some(self, name: str, holds: str) -> str:
        """This worker, or the other one when this one holds none of these."""
        other = "ben" if name == "ada" else "ada"
        return name if getattr(self.hands[name], holds) else other

    def a_digest(self, session: Session, pick: int) -> store.Digest:
        return session.get_one(store.Digest, 1 + pick % DIGESTS)

    # Workers.

    def renew(self, name: str) -> None:
        with self.write() as session:
            worker(session, self.now, name, 900)

    def oversleep(self, name: str) -> None:
        """It stands still for longer than its lease, and others take its rows back."""
        with self.write() as session:
            worker(session, self.now, name, -1)
            claim.reap(session, self.now)
        self.hands[name].overslept = True

    @precondition(lambda self: self.hands["ada"].holds() or self.hands["ben"].holds())
    @rule(name=WORKERS, fate=st.sampled_from(["sleeps", "sleeps", "is killed", "stops"]))
    def end(self, name: str, fate: str) -> None:
        """It is killed, and what it held is taken back at once; or it gives back what it can."""
        if fate == "sleeps":
            self.oversleep(name)
            return
        hand, self.hands[name] = self.hands[name], Hand()
        with self.write() as session:
            if fate == "stops":
                claim.give_back(session, [mail.claim for mail in hand.mails])
                claim.disarm(session, [mail.claim for mail in hand.armed])
            claim.reap(session, self.now, gone=[name])

    @precondition(lambda self: self.someone("mails"))
    @rule(name=WORKERS, arms=st.booleans(), answer=ANSWERS, says=st.sampled_from([0, 451, 550]))
    def overtake(self, name: str, arms: bool, answer: str, says: int) -> None:
        """One oversleeps, the other goes on with its mails up to where their answers come.

        says: what the sleeper was told before, and writes down when it wakes up; 0 for nothing.
        """
        name = self.with_some(name, "mails")
        self.oversleep(name)
        other = "ben" if name == "ada" else "ada"
        for digest in range(DIGESTS):
            self.claim(other, digest, READERS)
        while arms and self.hands[other].mails:
            self.arm(other, 0, many=True)
        while arms and self.hands[other].armed:
            self.dot(other, answer)
        for _ in range(2):
            if says and self.hands[name].mails:
                self.refused(name, 0, says)

    @rule(name=WORKERS, pick=PICK, limit=st.integers(1, 4))
    def claim(self, name: str, pick: int, limit: int) -> None:
        self.renew(name)
        with self.write() as session:
            held = claim.digest(session, 1 + pick % DIGESTS, name, limit=limit, now=self.now)
            mails, unwritable = write.mails(session, held, ORIGIN)
        assert unwritable == []
        for mail in mails:
            # The same mail each time, whoever makes it.
            assert self.sha.setdefault(mail.claim.id, mail.sha256) == mail.sha256
        self.hands[name].mails += mails

    @precondition(lambda self: self.someone("mails"))
    @rule(name=WORKERS, pick=PICK, many=st.booleans())
    def arm(self, name: str, pick: int, many: bool) -> None:
        hand = self.hands[self.with_some(name, "mails")]
        at = pick % len(hand.mails)
        mails = hand.mails[at : at + (3 if many else 1)]
        with self.write() as session:
            verdicts = settle.arm(session, mails, now=self.now)
        for mail, verdict in zip(mails, verdicts, strict=True):
            hand.mails.remove(mail)
            if verdict is settle.Verdict.ARMED:
                assert mail.claim.id not in self.left, "armed for a reader who had left"
                hand.armed.append(mail)
        if not hand.armed:
            hand.overslept = False

    @precondition(lambda self: self.someone("armed"))
    @rule(name=WORKERS, answer=ANSWERS)
    def dot(self, name: str, answer: str) -> None:
        """The dot goes out; who overslept writes none."""
        hand = self.hands[self.with_some(name, "armed")]
        mail = hand.armed.pop(0)
        if hand.overslept:
            with self.write() as session:
                claim.disarm(session, [mail.claim])
            hand.overslept = bool(hand.armed)
            return
        self.dots += 1
        self.taken[mail.claim.id] += answer in ("250", "taken and lost")
        code = int(answer) if answer.isdecimal() else None
        hand.waits.append((mail, Reply(code, "said", "dot") if code else None))

    @precondition(lambda self: self.someone("waits"))
    @rule(name=WORKERS, pick=PICK)
    def hear(self, name: str, pick: int) -> None:
        """An answer comes, perhaps late, and is recorded."""
        hand = self.hands[self.with_some(name, "waits")]
        mail, reply = hand.waits.pop(pick % len(hand.waits))
        self.record(mail, reply)

    def record(self, mail: write.Mail, reply: Reply | None) -> None:
        with self.write() as session:
            if reply is None:
                settle.uncertain(session, mail.claim, now=self.now)
            elif reply.code == 250:
                settle.accepted(session, [(mail.claim, reply)], now=self.now)
            elif reply.code == 550:
                settle.failed(session, mail.claim, reply, reason="refused", now=self.now)
            else:
                self.put_off(session, mail, reply)

    def put_off(self, session: Session, mail: write.Mail, reply: Reply | None) -> None:
        settle.deferred(session, mail, reply, retries=RETRIES, chance=0.5, now=self.now)

    @precondition(lambda self: self.someone("mails"))
    @rule(name=WORKERS, pick=PICK, code=st.sampled_from([None, 451, 550]))
    def refused(self, name: str, pick: int, code: int | None) -> None:
        """The relay says no before the dot, or the line breaks there."""
        hand = self.hands[self.with_some(name, "mails")]
        mail = hand.mails.pop(pick % len(hand.mails))
        reply = Reply(code, "said", "rcpt") if code else None
        with self.write() as session:
            if reply is not None and reply.code == 550:
                settle.failed(session, mail.claim, reply, reason="refused", now=self.now)
            else:
                self.put_off(session, mail, reply)

    # What runs by itself.

    @rule(minutes=st.sampled_from([0, 0, 5, 20]))
    def tidy(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)
        with self.write() as session:
            claim.reap(session, self.now)
            claim.due(session, self.now)
            claim.sweep(session, self.now)
            for digest in session.scalars(select(store.Digest)).all():
                if digest.state == "sending":
                    status.finish(session, digest, self.now)
        self.sent_is_settled()

    # People.

    @rule(pick=PICK, word=st.sampled_from(WORDS))
    def people(self, pick: int, word: str) -> None:
        """Somebody says something; most of it is refused most of the time."""
        if word in ("leaves", "is erased"):
            self.leave(pick, is_erasure=word == "is erased")
        elif word == "retry uncertain":
            self.retry_uncertain(pick)
        else:
            self.operate(pick, word)

    def operate(self, pick: int, word: str) -> None:
        with self.write() as session, suppress(WrongState):
            digest = self.a_digest(session, pick)
            if word == "pause":
                control.pause(session, digest)
            elif word == "resume":
                control.resume(session, digest)
            elif word == "retry failed":
                retry.failed(session, digest, self.now)
            else:
                control.cancel(session, digest, self.now)

    def retry_uncertain(self, pick: int) -> None:
        """The operator's word: these may be sent once more, though somebody may get them twice.

        No worker has a dot on the wire for so long (the hold of 15 minutes is for that).
        """
        self.now += timedelta(minutes=20)
        for hand in self.hands.values():
            hand.overslept = hand.overslept or bool(hand.armed)
            waits, hand.waits = hand.waits, []
            for mail, _reply in waits:
                self.record(mail, None)
        before = self.picture()
        with self.write() as session, suppress(WrongState):
            retry.uncertain(session, self.a_digest(session, pick), self.now)
        for number, (state, _epoch) in self.picture().items():
            self.allowed[number] += before[number][0] == "uncertain" and state == "queued"

    def leave(self, pick: int, *, is_erasure: bool) -> None:
        by = consent.Evidence(actor="subscriber", channel="link")
        with self.write() as session:
            found = session.scalars(select(store.Subscription).order_by("id")).all()
            if not found:
                return
            reader = found[pick % len(found)]
            mine = select(store.Delivery.id).where(store.Delivery.subscription_id == reader.id)
            ids = set(session.scalars(mine))
            self.left |= ids
            if is_erasure:
                erase.forget(session, reader.subscriber, by, hash_key=HASH_KEY, now=self.now)
            else:
                leave.by_reader(session, reader.public_id, by, hash_key=HASH_KEY, now=self.now)

    # What holds at every moment.

    def picture(self) -> dict[int, tuple[str, int]]:
        query = "SELECT id, state, epoch FROM delivery WHERE digest_id IS NOT NULL"
        return {number: (state, epoch) for number, state, epoch in self.reader.execute(query)}

    @invariant()
    def nobody_twice(self) -> None:
        """I1: but for an operator's word."""
        for number, times in self.taken.items():
            assert times <= 1 + self.allowed[number], number

    @invariant()
    def rows_say_what_was_taken(self) -> None:
        """I2, I3, I4, I5: the states and the relay; nobody missing, nobody too many."""
        found = self.picture()
        assert found.keys() == self.queued.keys()
        for number, (state, _epoch) in found.items():
            times = self.taken[number]
            if state == "accepted":
                assert times >= 1, number
            if times and not self.allowed[number]:
                assert state in ("accepted", "uncertain", "armed"), (number, state)
            if times:
                assert state not in ("failed", "skipped"), (number, state)

    @invariant()
    def changes_are_legal(self) -> None:
        """I8, I9: as the database itself wrote them down."""
        query = f"SELECT before, after, b, a FROM witness WHERE n > {self.changes} ORDER BY n"
        news = self.reader.execute(query).fetchall()
        self.changes += len(news)
        for before, after, epoch_before, epoch_after in news:
            assert before == after or (before, after) in LEGAL | RETRIED, (before, after)
            assert (epoch_after - epoch_before) == (after == "claimed"), (before, after)

    def sent_is_settled(self) -> None:
        """SUM: what is called sent adds up; status counts what the rows say (I15)."""
        found = self.picture()
        with store.reading(self.engine) as session:
            for number in range(1, DIGESTS + 1):
                said = status.of_digest(session, number)
                mine = Counter(
                    state for row, (state, _) in found.items() if self.queued[row].digest == number
                )
                assert +Counter(said["counts"]) == mine
                if said["state"] == "sent":
                    assert mine.keys() <= {"accepted", "failed", "skipped", "uncertain"}


def play(begin: Callable[[], str], examples: int, length: int) -> None:
    machine = type("Played", (Machine,), {"begin": staticmethod(begin)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=length,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            # A failure is told as it came: to make it shorter takes longer than a test may.
            phases=(Phase.generate,),
        ),
    )


def play_on_sqlite(examples: int, length: int) -> None:
    numbers = itertools.count()
    with TemporaryDirectory(dir=in_memory()) as name:
        template = Path(name) / "template.db"
        populate(f"sqlite:///{template}", readers=READERS, digests=DIGESTS)

        def begin() -> str:
            file = Path(name) / f"{next(numbers)}.db"
            shutil.copy(template, file)
            return f"sqlite:///{file}"

        play(begin, examples, length)


def test_deliveries_on_sqlite():
    """I1 to I5, I8, I9, I15, I16, after each step of a game of workers, relay and people."""
    play_on_sqlite(examples=60, length=30)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_deliveries_on_sqlite_for_longer():
    """The same, many times more."""
    play_on_sqlite(examples=2000, length=50)


def test_deliveries_on_postgresql(_postgres):
    """The same."""
    names = [_postgres.create()]
    populate(_postgres.address(names[0]), readers=READERS, digests=DIGESTS)

    def begin() -> str:
        names.append(_postgres.create(names[0]))
        return _postgres.address(names[-1])

    try:
        play(begin, examples=8, length=25)
    finally:
        for name in names:
            _postgres.drop(name)
