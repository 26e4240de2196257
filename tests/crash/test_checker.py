"""The judge is judged: it passes every good history, and finds what is wrong in every bad one."""

from __future__ import annotations

import dataclasses
import hashlib
import random

import pytest
from crash.checker import Change, History, Left, Queued, Row, check
from crash.ledger import Arrival, Ending, Ledger, read
from hypothesis import given, settings
from hypothesis import strategies as st

CONNECTIONS = 3


class Story:
    """Tells what a right sender would leave behind that is killed now and then."""

    def __init__(self, seed: int, readers: int = 30) -> None:
        self.lot = random.Random(seed)
        self.queued = [
            Queued(n, 1 + n % 2, f"reader-{n}@example.net", f"<{n:04x}@example.org>")
            for n in range(1, readers + 1)
        ]
        self.state = {each.delivery: "queued" for each in self.queued}
        self.epoch = dict.fromkeys(self.state, 0)
        self.sha: dict[int, str | None] = dict.fromkeys(self.state)
        self.changes: list[Change] = []
        self.arrivals: list[Arrival] = []
        self.left: list[Left] = []
        self.gone: set[int] = set()
        self.crashes = 0

    def move(self, delivery: int, to: str, *, claim: bool = False) -> None:
        before, epoch = self.state[delivery], self.epoch[delivery]
        self.state[delivery] = to
        self.epoch[delivery] = epoch + claim
        self.changes.append(Change(delivery, before, to, epoch, epoch + claim))

    def dot(self, queued: Queued, said: str, *, taken: bool) -> None:
        sha = hashlib.sha256(queued.message_id.encode()).hexdigest()
        self.sha[queued.delivery] = sha
        self.arrivals.append(
            Arrival(len(self.arrivals), queued.recipient, queued.message_id, sha, taken, said)
        )

    def leave(self, delivery: int) -> None:
        self.left.append(Left(delivery, self.state[delivery]))
        self.gone.add(delivery)

    def life(self) -> None:
        """One process: some mails, then a crash."""
        waiting = [each for each in self.queued if self.state[each.delivery] == "queued"]
        for queued in self.lot.sample(waiting, min(len(waiting), self.lot.randrange(1, 9))):
            self.move(queued.delivery, "claimed", claim=True)
            if self.lot.random() < 0.1:
                self.leave(queued.delivery)
            self.hand_over(queued)
        self.crashes += 1
        for delivery, state in self.state.items():
            if state in ("claimed", "deferred"):
                self.move(delivery, "queued")
            if state == "armed":
                self.move(delivery, "uncertain")

    def hand_over(self, queued: Queued) -> None:
        delivery, fate = queued.delivery, self.lot.random()
        if delivery in self.gone:
            return self.move(delivery, "skipped")
        if fate < 0.1:
            return None  # the crash came first
        if fate < 0.2:
            return self.move(delivery, "deferred")
        if fate < 0.25:
            return self.move(delivery, "failed")
        self.move(delivery, "armed")
        if fate < 0.27:
            return self.move(delivery, "queued")  # the line broke before the dot was written
        if fate < 0.3 and sum(s == "armed" for s in self.state.values()) <= CONNECTIONS:
            # Killed before the dot, or after it.
            if self.lot.random() < 0.5:
                self.dot(queued, "250 taken", taken=True)
            return None
        if fate < 0.4:
            self.dot(queued, self.lot.choice(["take-drop", "garbage"]), taken=True)
            return self.move(delivery, "uncertain")
        if fate < 0.5:
            self.dot(queued, "451 later", taken=False)
            return self.move(delivery, "deferred")
        self.dot(queued, "250 taken", taken=True)
        return self.move(delivery, "accepted")

    def history(self) -> History:
        while any(state == "queued" for state in self.state.values()):
            self.life()
        rows = [
            Row(
                each.delivery,
                each.digest,
                self.state[each.delivery],
                self.epoch[each.delivery],
                each.message_id,
                self.sha[each.delivery],
            )
            for each in self.queued
        ]
        counts: dict[int, dict[str, int]] = {1: {}, 2: {}}
        for row in rows:
            counts[row.digest][row.state] = counts[row.digest].get(row.state, 0) + 1
        return History(
            queued=self.queued,
            rows=rows,
            ledger=Ledger(tuple(self.arrivals), (), 0, 0),
            digests={1: "sent", 2: "sent"},
            changes=self.changes,
            crashes=self.crashes,
            connections=CONNECTIONS,
            left=self.left,
            counts=counts,
        )


def with_row(history: History, state: str, /, **over: object) -> History:
    """The first row in `state`, changed."""
    rows = list(history.rows)
    at = next((n for n, row in enumerate(rows) if row.state == state), None)
    if at is None:
        return history
    rows[at] = dataclasses.replace(rows[at], **over)
    return dataclasses.replace(history, rows=rows)


def with_arrivals(history: History, arrivals: list[Arrival]) -> History:
    ledger = dataclasses.replace(history.ledger, arrivals=tuple(arrivals))
    return dataclasses.replace(history, ledger=ledger)


def taken_of(history: History, *states: str) -> list[Arrival]:
    messages = {row.message_id for row in history.rows if row.state in states}
    return [each for each in history.ledger.arrivals if each.taken and each.message_id in messages]


def twice(history: History) -> History:
    taken = taken_of(history, "accepted", "uncertain")
    return with_arrivals(history, [*history.ledger.arrivals, *taken[:1]])


def lost(history: History) -> History:
    gone = taken_of(history, "accepted")[:1]
    return with_arrivals(history, [each for each in history.ledger.arrivals if each not in gone])


def never_told(history: History) -> History:
    first = taken_of(history, "accepted")[:1]
    told = [
        dataclasses.replace(each, said="take-drop") if each in first else each
        for each in history.ledger.arrivals
    ]
    return with_arrivals(history, told)


def taken_though(state: str):
    """A mail in this state was taken all the same."""

    def change(history: History) -> History:
        row = next((row for row in history.rows if row.state == state), None)
        if row is None:
            return history
        queued = history.queued[row.delivery - 1]
        mail = Arrival(0, queued.recipient, queued.message_id, row.sha256 or "", True, "250 yes")
        return with_arrivals(history, [*history.ledger.arrivals, mail])

    return change


def stuck(history: History) -> History:
    return with_row(history, "accepted", state="queued")


def missing(history: History) -> History:
    return dataclasses.replace(history, rows=history.rows[1:])


def extra(history: History) -> History:
    more = dataclasses.replace(history.rows[0], delivery=999, message_id="<999@example.org>")
    return dataclasses.replace(history, rows=[*history.rows, more])


def too_many_uncertain(history: History) -> History:
    has_uncertain = any(row.state == "uncertain" for row in history.rows)
    lost_answers = history.ledger.lost_answers
    uncertain = sum(row.state == "uncertain" for row in history.rows)
    if not has_uncertain or uncertain <= lost_answers:
        return history
    return dataclasses.replace(history, crashes=0)


def sent_again(history: History) -> History:
    last = history.changes[-1]
    wrong = Change(last.delivery, last.after, "claimed", last.epoch_after, last.epoch_after + 1)
    return dataclasses.replace(history, changes=[*history.changes, wrong])


def unseen(history: History) -> History:
    return dataclasses.replace(history, changes=history.changes[:-1])


def same_epoch(history: History) -> History:
    first, *rest = history.changes
    return dataclasses.replace(
        history, changes=[dataclasses.replace(first, epoch_after=first.epoch_before), *rest]
    )


def other_bytes(history: History) -> History:
    first, *rest = history.ledger.arrivals
    return with_arrivals(history, [dataclasses.replace(first, sha256="0" * 64), *rest])


def other_message_id(history: History) -> History:
    first, *rest = history.ledger.arrivals
    return with_arrivals(history, [dataclasses.replace(first, message_id="<random@x>"), *rest])


def other_recipient(history: History) -> History:
    first, *rest = history.ledger.arrivals
    return with_arrivals(history, [dataclasses.replace(first, recipient="eve@example"), *rest])


def not_armed(history: History) -> History:
    armed = next(change for change in history.changes if change.after == "armed")
    messages = {each.message_id for each in history.ledger.arrivals}
    if history.queued[armed.delivery - 1].message_id not in messages:
        return history
    changes = [change for change in history.changes if change.delivery != armed.delivery]
    return dataclasses.replace(history, changes=changes)


def dot_taken_back(history: History) -> History:
    changes = list(history.changes)
    for n, change in enumerate(changes):
        if change.before == "armed" and change.after in ("deferred", "accepted", "uncertain"):
            messages = {each.message_id for each in history.ledger.arrivals}
            if history.queued[change.delivery - 1].message_id in messages:
                changes[n] = dataclasses.replace(change, after="queued")
                return dataclasses.replace(history, changes=changes)
    return history


def wrong_count(history: History) -> History:
    counts = {digest: dict(said) for digest, said in history.counts.items()}
    counts[1]["accepted"] = counts[1].get("accepted", 0) + 1
    return dataclasses.replace(history, counts=counts)


def mailed_after_leaving(history: History) -> History:
    taken = taken_of(history, "accepted")
    if not taken:
        return history
    delivery = next(q.delivery for q in history.queued if q.message_id == taken[0].message_id)
    return dataclasses.replace(history, left=[*history.left, Left(delivery, "claimed")])


def too_early_sent(history: History) -> History:
    return with_row(history, "failed", state="queued")


def never_sent(history: History) -> History:
    return dataclasses.replace(history, digests={1: "sent", 2: "sending"})


BAD = [
    (twice, "I1"),
    (lost, "I2"),
    (never_told, "I2"),
    (taken_though("failed"), "I3"),
    (taken_though("skipped"), "I3"),
    (taken_though("failed"), "I4"),
    (stuck, "I5"),
    (missing, "I5"),
    (extra, "I5"),
    (too_many_uncertain, "I6"),
    (sent_again, "I8"),
    (unseen, "I8"),
    (same_epoch, "I9"),
    (other_bytes, "I10"),
    (other_message_id, "I10"),
    (other_recipient, "I10"),
    (not_armed, "I11"),
    (dot_taken_back, "I11"),
    (wrong_count, "I15"),
    (mailed_after_leaving, "I16"),
    (too_early_sent, "SUM"),
    (never_sent, "SUM"),
]


@settings(max_examples=100)
@given(seed=st.integers(0, 10**9))
def test_a_good_history_passes(seed):
    """Whatever crashes and faults there were: nothing is found where nothing is wrong."""
    assert check(Story(seed).history()) == []


@pytest.mark.parametrize(("spoil", "invariant"), BAD)
@settings(max_examples=25)
@given(seed=st.integers(0, 10**9))
def test_a_bad_history_is_caught(spoil, invariant, seed):
    """Each wrong is found, under the number of the invariant that it breaks."""
    good = Story(seed).history()
    bad = spoil(good)
    if bad is good:  # this story has nothing that could be spoilt in this way
        return
    assert invariant in {violation.invariant for violation in check(bad)}


@pytest.mark.parametrize("end", ["failed", "skipped"])
def test_an_operators_word_does_not_unsend_a_mail(end):
    """What was taken may be queued once more after a retry; it cannot end as if it was not."""
    story = Story(1, readers=60).history()
    spoilt = dataclasses.replace(taken_though(end)(story), is_retried=True)
    assert "I3" in {violation.invariant for violation in check(spoilt)}


@pytest.mark.parametrize(("spoil", "_invariant"), BAD)
def test_each_wrong_happens(spoil, _invariant):
    """No kind of wrong is left out above because no story could be spoilt with it."""
    good = Story(1, readers=60).history()
    assert spoil(good) is not good


def test_the_ledger_is_read_as_it_was_written(tmp_path):
    """Mails, ends and faults; a line that is still being written is left out."""
    file = tmp_path / "ledger"
    file.write_text(
        '{"what": "mail", "at": 1.5, "recipient": "a@b", "message_id": "<1@b>", "sha256": "00",'
        ' "taken": true, "said": "take-drop"}\n'
        '{"what": "fault", "stage": "offered", "said": "hang-up"}\n'
        '{"what": "end", "at": 2, "stage": "rcpt", "recipient": "a@b", "message_id": "",'
        ' "previous": "", "by_sink": false}\n'
        '{"what": "mail", "at'
    )
    found = read(file)
    assert found.arrivals == (Arrival(1.5, "a@b", "<1@b>", "00", True, "take-drop"),)
    assert found.endings == (Ending(2, "rcpt", "a@b", "", "", False),)
    assert (found.faults, found.lost_answers) == (1, 2)
