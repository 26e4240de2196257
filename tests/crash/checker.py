"""The judge: the rows of a database held against the ledger of the sink that its mails went to.

Nothing of newsletter is used here, so that one mistake cannot be made twice. `check` takes a
`History` and returns every violation that it finds, each under the number of its invariant:

    I1   nobody got a mail twice
    I2   an accepted mail was taken by the sink, which had said so
    I3   a mail that is failed, skipped or not sent yet was not taken
    I4   a mail that was taken is accepted or uncertain
    I5   at the end every row is settled, nobody is missing and nobody too many
    I6   there are no more uncertain mails than crashes and lost answers explain
    I8   states change only along the ways that there are
    I9   each claim raises the row's epoch, and nothing else touches it
    I10  a mail has the same Message-ID and the same bytes each time, and no other mail has them
    I11  no dot without an arming of its own in the database
    I15  what status counts is what the rows say
    I16  whoever left before the arming was not mailed
    SUM  total = accepted + failed + skipped + uncertain, and the digest is then called sent
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from crash.ledger import Arrival, Ledger

SETTLED = ("accepted", "failed", "skipped", "uncertain")
_NOT_TAKEN = ("failed", "skipped", "queued", "deferred", "claimed")

# (from, to): without an operator's word. None is a row that is made.
LEGAL = {
    (None, "queued"),
    ("queued", "claimed"),
    ("queued", "skipped"),
    ("claimed", "queued"),
    ("claimed", "armed"),
    ("claimed", "deferred"),
    ("claimed", "failed"),
    ("claimed", "skipped"),
    ("armed", "accepted"),
    ("armed", "deferred"),
    ("armed", "failed"),
    # By whoever armed it, when no dot was written after all.
    ("armed", "queued"),
    ("armed", "uncertain"),
    ("deferred", "queued"),
    ("deferred", "skipped"),
    ("uncertain", "accepted"),
    ("uncertain", "failed"),
}
# With it: `newsletter retry`.
RETRIED = {
    ("failed", "queued"),
    ("uncertain", "queued"),
    # The first try may have arrived, whatever ends the second one.
    ("claimed", "uncertain"),
    ("queued", "uncertain"),
    ("deferred", "uncertain"),
}


@dataclass(frozen=True, slots=True)
class Queued:
    """One mail as it was queued, before anything was sent."""

    delivery: int
    digest: int
    recipient: str
    message_id: str


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the outbox, at the end."""

    delivery: int
    digest: int
    state: str
    epoch: int
    message_id: str | None
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a row's state or epoch, in the order in which they were committed."""

    delivery: int
    before: str | None
    after: str
    epoch_before: int
    epoch_after: int


@dataclass(frozen=True, slots=True)
class Left:
    """A reader left, and in the same transaction this row of theirs was in `state`."""

    delivery: int
    state: str


@dataclass(frozen=True, slots=True)
class Violation:
    """What is wrong. invariant: I1 ... I16 or SUM."""

    invariant: str
    text: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.text}"


@dataclass(frozen=True)
class History:
    """All the evidence.

    queued: the mails as they were queued. rows: the rows at the end. changes: each change of them;
    None when nobody wrote them down. digests: the state of each digest at the end.
    crashes: how many processes ended without a chance to finish (killed, stopped beyond their
    lease, cut off from the database); connections: how many connections each of them had at most.
    is_over: whether everything had time to come to rest. is_retried: whether an operator retried
    mails. counts: what status said of each digest: {state: n}.
    """

    queued: Sequence[Queued]
    rows: Sequence[Row]
    ledger: Ledger
    digests: Mapping[int, str]
    changes: Sequence[Change] | None = None
    crashes: int = 0
    connections: int = 0
    is_over: bool = True
    is_retried: bool = False
    left: Sequence[Left] = ()
    counts: Mapping[int, Mapping[str, int]] = field(default_factory=dict)


def check(history: History) -> list[Violation]:
    """Every violation; an empty list is the proof."""
    evidence = _Evidence(history)
    found: list[Violation] = []
    for rule in _RULES:
        found += rule(evidence)
    return found


class _Evidence:
    """A history, sorted."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.queued = {each.delivery: each for each in history.queued}
        self.rows = {row.delivery: row for row in history.rows}
        self.by_message = {each.message_id: each.delivery for each in history.queued}
        self.arrivals: dict[int, list[Arrival]] = defaultdict(list)
        self.strays: list[Arrival] = []
        for arrival in history.ledger.arrivals:
            delivery = self.by_message.get(arrival.message_id)
            if delivery is None:
                self.strays.append(arrival)
            else:
                self.arrivals[delivery].append(arrival)
        self.taken = {
            delivery: [each for each in arrivals if each.taken]
            for delivery, arrivals in self.arrivals.items()
        }

    def name(self, delivery: int) -> str:
        queued = self.queued.get(delivery)
        row = self.rows.get(delivery)
        state = row.state if row else "missing"
        recipient = queued.recipient if queued else "?"
        return f"delivery {delivery} to {recipient}, {state}"


def _nobody_twice(evidence: _Evidence) -> Iterator[Violation]:
    for delivery, taken in evidence.taken.items():
        if len(taken) > 1 and not evidence.history.is_retried:
            yield Violation("I1", f"{evidence.name(delivery)}: taken {len(taken)} times")


def _accepted_was_taken(evidence: _Evidence) -> Iterator[Violation]:
    for row in evidence.history.rows:
        if row.state == "accepted":
            taken = evidence.taken.get(row.delivery, [])
            if not taken:
                yield Violation("I2", f"{evidence.name(row.delivery)}: never taken")
            elif not any(each.was_told for each in taken):
                yield Violation("I2", f"{evidence.name(row.delivery)}: the sink never said yes")


def _not_accepted_was_not_taken(evidence: _Evidence) -> Iterator[Violation]:
    # What is tried once more may have been taken before; it must not end as if it had not.
    states = ("failed", "skipped") if evidence.history.is_retried else _NOT_TAKEN
    for row in evidence.history.rows:
        was_taken = bool(evidence.taken.get(row.delivery))
        if row.state in states and was_taken:
            yield Violation("I3", f"{evidence.name(row.delivery)}: and yet it was taken")


def _taken_is_known(evidence: _Evidence) -> Iterator[Violation]:
    known = {"accepted", "uncertain"}
    if not evidence.history.is_over:
        known.add("armed")
    for delivery, taken in evidence.taken.items():
        row = evidence.rows.get(delivery)
        if taken and (row is None or row.state not in known):
            yield Violation("I4", f"{evidence.name(delivery)}: and yet it was taken")


def _all_settled(evidence: _Evidence) -> Iterator[Violation]:
    for delivery in evidence.queued.keys() - evidence.rows.keys():
        yield Violation("I5", f"{evidence.name(delivery)}: the row is gone")
    for delivery in evidence.rows.keys() - evidence.queued.keys():
        yield Violation("I5", f"{evidence.name(delivery)}: nobody queued it")
    if evidence.history.is_over:
        for row in evidence.history.rows:
            if row.state not in SETTLED:
                yield Violation("I5", f"{evidence.name(row.delivery)}: it never came to rest")


def _uncertain_is_explained(evidence: _Evidence) -> Iterator[Violation]:
    history = evidence.history
    uncertain = sum(row.state == "uncertain" for row in history.rows)
    most = history.crashes * history.connections + history.ledger.lost_answers
    if uncertain > most:
        yield Violation("I6", f"{uncertain} uncertain; the crashes and lost answers allow {most}")


def _legal_changes(evidence: _Evidence) -> Iterator[Violation]:
    legal = LEGAL | RETRIED if evidence.history.is_retried else LEGAL
    state: dict[int, str] = {}
    for change in evidence.history.changes or ():
        name = evidence.name(change.delivery)
        before = state.get(change.delivery, change.before)
        if change.before != before:
            yield Violation("I8", f"{name}: {before} changed to {change.before} unseen")
        elif change.before != change.after and (change.before, change.after) not in legal:
            yield Violation("I8", f"{name}: {change.before} -> {change.after}")
        state[change.delivery] = change.after
    for delivery, last in state.items():
        row = evidence.rows.get(delivery)
        if row is not None and row.state != last:
            yield Violation("I8", f"{evidence.name(delivery)}: it was {last} when last seen")


def _epochs_rise(evidence: _Evidence) -> Iterator[Violation]:
    for change in evidence.history.changes or ():
        name = f"{evidence.name(change.delivery)}: {change.before} -> {change.after}"
        if change.after == "claimed" and change.before is not None:
            if change.epoch_after <= change.epoch_before:
                yield Violation("I9", f"{name} without a new epoch")
        elif change.epoch_after != change.epoch_before:
            yield Violation("I9", f"{name}, epoch {change.epoch_before} -> {change.epoch_after}")


def _same_bytes(evidence: _Evidence) -> Iterator[Violation]:
    for stray in evidence.strays:
        yield Violation("I10", f"{stray.message_id} to {stray.recipient}: of no delivery")
    if len(evidence.by_message) != len(evidence.queued):
        yield Violation("I10", "two deliveries have the same Message-ID")
    for delivery, arrivals in evidence.arrivals.items():
        name, row = evidence.name(delivery), evidence.rows.get(delivery)
        if len({each.sha256 for each in arrivals}) > 1:
            yield Violation("I10", f"{name}: its bytes changed from one try to the next")
        if any(each.recipient != evidence.queued[delivery].recipient for each in arrivals):
            yield Violation("I10", f"{name}: it went to somebody else")
        if row is not None and row.sha256 not in (None, arrivals[-1].sha256):
            yield Violation("I10", f"{name}: the row has another hash than the mail")
    message_ids = {each.delivery: each.message_id for each in evidence.history.queued}
    for row in evidence.history.rows:
        if row.message_id not in (None, message_ids.get(row.delivery)):
            yield Violation("I10", f"{evidence.name(row.delivery)}: its Message-ID changed")


def _dots_are_armed(evidence: _Evidence) -> Iterator[Violation]:
    if evidence.history.changes is None:
        return
    arms: Counter[int] = Counter()
    for change in evidence.history.changes:
        arms[change.delivery] += (change.before, change.after) == ("claimed", "armed")
        # Whoever takes an arming back says that no dot followed it.
        arms[change.delivery] -= (change.before, change.after) == ("armed", "queued")
    for delivery, arrivals in evidence.arrivals.items():
        if len(arrivals) > arms[delivery]:
            dots = f"{len(arrivals)} dots and {arms[delivery]} armings"
            yield Violation("I11", f"{evidence.name(delivery)}: {dots}")


def _counts_are_true(evidence: _Evidence) -> Iterator[Violation]:
    found: dict[int, Counter[str]] = defaultdict(Counter)
    for row in evidence.history.rows:
        found[row.digest][row.state] += 1
    for digest, said in evidence.history.counts.items():
        told = {state: count for state, count in said.items() if count}
        if told != dict(found[digest]):
            yield Violation("I15", f"digest {digest}: status says {told}, the rows {found[digest]}")


def _leaving_counts(evidence: _Evidence) -> Iterator[Violation]:
    for left in evidence.history.left:
        if left.state in ("queued", "claimed", "deferred") and evidence.taken.get(left.delivery):
            yield Violation("I16", f"{evidence.name(left.delivery)}: left when it was {left.state}")


def _sums(evidence: _Evidence) -> Iterator[Violation]:
    totals = Counter(each.digest for each in evidence.history.queued)
    settled = Counter(row.digest for row in evidence.history.rows if row.state in SETTLED)
    for digest, state in evidence.history.digests.items():
        total = totals[digest]
        if state == "sent" and settled[digest] != total:
            yield Violation("SUM", f"digest {digest} is sent with {settled[digest]} of {total}")
        if evidence.history.is_over and state == "sending":
            yield Violation("SUM", f"digest {digest} is never called sent")


_RULES = (
    _nobody_twice,
    _accepted_was_taken,
    _not_accepted_was_not_taken,
    _taken_is_known,
    _all_settled,
    _uncertain_is_explained,
    _legal_changes,
    _epochs_rise,
    _same_bytes,
    _dots_are_armed,
    _counts_are_true,
    _leaving_counts,
    _sums,
)
