"""Whatever people do, in whatever order, and wherever a crash comes in between.

Each change of a subscription has its one event, the log folds to the state tables, and the log
verifies: from its first event, and from the last checkpoint that was found good.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from logbook import HASH_KEY, Logbook, address, killed
from sqlalchemy import func, select

from newsletter import addresses, consent, store
from newsletter.consent import check, fold
from newsletter.errors import BadLink

NAMES = ["ada", "bob", "cy"]
SLUGS = ["field-notes", "tide-tables"]

a_name = st.sampled_from(NAMES)
joining = st.tuples(st.just("sign_up"), a_name, st.sampled_from(SLUGS))
importing = st.tuples(st.just("take_in"), a_name, a_name)
answering = st.tuples(st.sampled_from(["confirm", "confirm", "deny", "unblock"]), a_name)
ending = st.tuples(st.sampled_from(["leave", "leave", "bounce", "rename", "erase"]), a_name)
steps = joining | importing | answering | ending


class Crash(Exception):
    """Something fails before the commit."""


@dataclass(frozen=True)
class Picture:
    """What is in the database at one moment."""

    size: int
    # Subscription -> its state, and its subscriber.
    states: dict[str, str]
    owners: dict[str, str]
    # Name of the test's -> subscriber.
    people: dict[str, str]
    letters: int
    barred: frozenset[tuple[bytes, str]]


class Machine(RuleBasedStateMachine):
    """People, operators and crashes."""

    begin: Callable[[], Logbook]

    @initialize()
    def open(self) -> None:
        self.book = type(self).begin()
        # Not from nothing: most steps need somebody to be there.
        self.book.sign_up("ada")
        self.book.confirm("ada")
        self.book.sign_up("bob")
        self.book.take_in("bob", "cy")

    def teardown(self) -> None:
        if hasattr(self, "book"):
            self.book.engine.dispose()

    @rule(step=joining | importing)
    def joins(self, step: tuple[str, ...]) -> None:
        """Somebody signs up, or is imported."""
        self._take(step)

    @rule(step=answering)
    def answers(self, step: tuple[str, ...]) -> None:
        """Somebody confirms, or says that it was not them, or takes that back."""
        self._take(step)

    @rule(step=ending)
    def ends(self, step: tuple[str, ...]) -> None:
        """Somebody leaves, bounces, changes their name, or is forgotten."""
        self._take(step)

    def _take(self, step: tuple[str, ...]) -> None:
        before = self._prepare(step)
        if before is None:
            return
        try:
            getattr(self.book, step[0])(*step[1:])
        except BadLink:
            assert self._picture() == before
        self._check_step(step, before, self._picture())
        self._check()

    @rule(step=steps)
    def fails(self, step: tuple[str, ...]) -> None:
        """Everything is done, then something fails before the commit: nothing happened."""
        before = self._prepare(step)
        if before is None:
            return

        def fail() -> None:
            raise Crash

        self.book.before_commit = fail
        with pytest.raises((Crash, BadLink)):
            getattr(self.book, step[0])(*step[1:])
        self.book.before_commit = lambda: None
        assert self._picture() == before
        self._check()

    @rule(step=steps, when=st.sampled_from(["before_commit", "after_commit"]))
    def dies(self, step: tuple[str, ...], when: str) -> None:
        """A process does everything and is killed: before the commit, or right after it."""
        before = self._prepare(step)
        if before is None:
            return
        code = self._killed(step[0], list(step[1:]), when)
        after = self._picture()
        if when == "before_commit" or code != -signal.SIGKILL:  # a link that no longer counts
            assert after == before
        else:
            self._check_step(step, before, after)
        self._check()

    @rule()
    def signs(self) -> None:
        """A checkpoint over what is committed."""
        before = self._picture()
        note = self.book.sign()
        assert (note is None) == (before.size == 0)
        assert self._picture() == before
        self._check()

    @rule(when=st.sampled_from(["before_commit", "after_commit"]))
    def dies_signing(self, when: str) -> None:
        """A kill between the file and the commit; whoever signs next mends it."""
        if self._picture().size == 0:
            return
        assert self._killed("sign", [], when) == -signal.SIGKILL
        self.book.sign()
        self._check()

    @rule(full=st.booleans())
    def verifies(self, full: bool) -> None:
        """What was found good is written down, and the next check begins there."""
        report = self.book.verify(full=full, whole_up_to=0)
        with store.transaction(self.book.engine) as session:
            check.remember(session, report)
        with store.reading(self.book.engine) as session:
            here = session.get_one(store.Installation, 1)
            assert here.verified_size == report.signed
        self._check()

    def _prepare(self, step: tuple[str, ...]) -> Picture | None:
        """The picture before; None where nobody is there to take the step."""
        self.book.now = self._later()
        picture = self._picture()
        needs_person = {"leave", "rename", "erase", "bounce"}
        return None if step[0] in needs_person and step[1] not in picture.people else picture

    def _later(self) -> Any:
        from datetime import timedelta

        # Beyond the quota of confirmation mails for one day.
        return self.book.now + timedelta(hours=25)

    def _killed(self, step: str, words: list[str], when: str) -> int:
        url = self.book.engine.url.render_as_string(hide_password=False)
        self.book.engine.dispose()
        arguments = (url, self.book.keyring.folder, self.book.now, step, words, when)
        return in_a_fork(lambda: killed(*arguments))

    def _picture(self) -> Picture:
        with store.reading(self.book.engine) as session:
            rows = session.execute(
                select(
                    store.Subscription.public_id,
                    store.Subscription.state,
                    store.Subscriber.public_id,
                ).join(store.Subscriber)
            ).all()
            people = dict(
                session.execute(select(store.Subscriber.address, store.Subscriber.public_id)).all()
            )
            barred = session.execute(
                select(store.Suppression.mailbox_hash, store.Suppression.reason)
            )
            return Picture(
                size=session.get_one(store.Installation, 1).log_size,
                states={name: state for name, state, _owner in rows},
                owners={name: owner for name, _state, owner in rows},
                people={name: people[address(name)] for name in NAMES if address(name) in people},
                letters=session.scalar(select(func.count()).select_from(store.Delivery)) or 0,
                barred=frozenset(tuple(row) for row in barred),
            )

    def _check_step(self, step: tuple[str, ...], before: Picture, after: Picture) -> None:
        """One event for each change, and none without one."""
        events = self._events(before.size)
        assert len(events) == after.size - before.size == self._expected(step, before, after)
        about = Counter(event.get("subscription") for event in events)
        for name in after.states:
            if after.states[name] != before.states.get(name):
                assert about[name] == 1, step
                states = {name: before.states[name]} if name in before.states else {}
                (event,) = (each for each in events if each.get("subscription") == name)
                assert fold.apply(states, event) is None
                assert states[name] == after.states[name]
        gone = set(before.states) - set(after.states)
        assert bool(gone) <= (step[0] == "erase")

    def _expected(self, step: tuple[str, ...], before: Picture, after: Picture) -> int:
        """How many events the step must have left, judged by everything but the log."""
        changed = sum(after.states[n] != before.states.get(n) for n in after.states)
        kind, name = step[:2]
        mine = [n for n, owner in after.owners.items() if owner == after.people.get(name)]
        match kind:
            case "sign_up":
                # With each mail that asks or answers goes its request.
                return after.letters - before.letters
            case "erase":
                assert name not in after.people
                return 1
            case "rename":
                return sum(after.states[n] in ("pending", "confirmed") for n in mine)
            case "deny":
                return len(self._of(name, "blocked", after) - self._of(name, "blocked", before))
            case "unblock":
                lifted = before.barred - after.barred
                return len(mine) if lifted else 0
        return changed

    def _of(self, name: str, reason: str, picture: Picture) -> set[tuple[bytes, str]]:
        mailbox = addresses.parse(address(name)).mailbox_hash(HASH_KEY)
        return {(mailbox, reason)} & picture.barred

    def _events(self, start: int) -> list[dict[str, Any]]:
        with store.reading(self.book.engine) as session:
            return [each.fields for each in consent.entries(session, start=start)]

    def _check(self) -> None:
        """The log folds to the tables and verifies."""
        states: dict[str, str] = {}
        for event in self._events(0):
            if event:
                assert fold.apply(states, event) is None
        picture = self._picture()
        assert states == picture.states
        for full in (True, False):
            report = self.book.verify(full=full, whole_up_to=0)
            assert report.events == picture.size
            assert report.states == dict(sorted(Counter(picture.states.values()).items()))


def in_a_fork(act: Callable[[], None]) -> int:
    """Do something in a copy of this process, which is made in a moment; how that ended.

    Negative for a signal, 1 when it raised.
    """
    with warnings.catch_warnings():
        # Python warns of other threads, whose locks the copy may need: it uses nothing of theirs.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        code = 1
        try:
            act()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def play(begin: Callable[[], Logbook], examples: int, length: int) -> None:
    machine = type("Played", (Machine,), {"begin": staticmethod(begin)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=length,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_people_and_crashes_on_sqlite(tmp_path: Path, _sqlite_template: Path, now: Any) -> None:
    """One event for each change, fold(log) = state, verify clean."""
    numbers = itertools.count()

    def begin() -> Logbook:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        shutil.copy(_sqlite_template, folder / "newsletter.db")
        engine = store.connect(f"sqlite:///{folder / 'newsletter.db'}")
        return Logbook.begin(engine, folder / "consent", now)

    play(begin, examples=15, length=30)


def test_people_and_crashes_on_postgresql(tmp_path: Path, _postgres: Any, now: Any) -> None:
    """The same where many connections write at once."""
    names: list[str] = []

    def begin() -> Logbook:
        names.append(_postgres.create(_postgres.template))
        engine = store.connect(_postgres.address(names[-1]))
        return Logbook.begin(engine, tmp_path / names[-1], now)

    try:
        play(begin, examples=4, length=15)
    finally:
        for name in names:
            _postgres.drop(name)
