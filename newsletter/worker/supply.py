"""The mails that go next: claimed, written, signed, and in the order in which they leave.

People's own letters stand before digests, and are looked for all the time; a digest's mails are
claimed in batches, as many as leave in about a second, and written a few at a time, while the
relay thinks about those before. What was claimed and did not leave is given back.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from datetime import timedelta

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from newsletter import failpoints
from newsletter.errors import BadInput
from newsletter.mail.signing import Signers
from newsletter.sending import claim, gate, settle
from newsletter.sending.claim import Claim
from newsletter.sending.pace import Pace
from newsletter.sending.write import (
    Draft,
    Mail,
    Unwritable,
    Writer,
    changed,
    same_as_recorded,
)
from newsletter.store import Installation, LetterName
from newsletter.store.doubt import RETRY_BY_ITSELF, TOO_LATE
from newsletter.worker import unwritable
from newsletter.worker.job import Job

log = structlog.get_logger()

_LETTERS_AT_ONCE = 50
_SMALLEST, _LARGEST = 20, 400
# Seconds: how often letters are looked for, and how long an empty outbox is left alone.
_LOOK_EVERY = 0.25
_DRY_FOR = 0.5
# With signatures, mails are written further ahead: all signing processes are to have work.
_SIGNED_AHEAD = 4
# For clocks that differ, and for the way to the relay.
_MARGIN = timedelta(minutes=10)
# A batch should last about so long: a pause of the digest, or another digest, comes soon then.
_BATCH_SECONDS = (0.25, 1.5)


class Supply:
    """What one sending loop sends next. For its thread, but `ring`.

    low: so many mails should always be ready; twice as many are made at once. wake: wakes the
    loop when signatures are done.
    """

    def __init__(
        self, job: Job, pace: Pace, signers: Signers | None, *, low: int, wake: Callable[[], None]
    ) -> None:
        self._job = job
        self._pace = pace
        self._signers = signers
        self._low = low
        self._wake = wake
        self._writer = Writer(job.origin)
        self._drafts: deque[Draft] = deque()
        self._ready: deque[Mail] = deque()
        self._signing: deque[tuple[Future[list[bytes]], list[Mail]]] = deque()
        self._broken: dict[int | None, str] = {}
        self._put_back: list[tuple[Claim, float]] = []  # with the seconds to wait
        self._refused: list[Unwritable] = []  # to be settled
        self._batch = _SMALLEST
        self._claimed_at = self._looked_at = float("-inf")
        self._dry_until = float("-inf")
        self._hold_until = float("-inf")
        self._said_unsigned: set[int | str] = set()
        self._lost_count = False  # an error left open what is claimed

    @property
    def is_dry(self) -> bool:
        """Whether nothing is held and nothing was found a moment ago."""
        held = self._ready or self._signing or self._drafts or self._put_back or self._refused
        return not held and time.monotonic() < self._dry_until

    @property
    def wait(self) -> float:
        """Seconds for which nothing is written because of the limit of mails a second."""
        return max(0.0, self._hold_until - time.monotonic())

    def ring(self) -> None:
        """There may be work: look at once. From any thread."""
        self._dry_until = float("-inf")

    def next(self) -> Mail | None:
        """The mail that goes next; None when there is none now."""
        return self._ready.popleft() if self._ready else None

    def again(self, mail: Mail) -> None:
        """Put a mail that was not begun in front."""
        self._ready.appendleft(mail)

    def _claims(self) -> list[Claim]:
        claims = [mail.claim for mail in self._ready]
        claims += [draft.claim for draft in self._drafts]
        claims += [mail.claim for _future, mails in self._signing for mail in mails]
        claims += [row.claim for row in self._refused]
        return claims + [held for held, _seconds in self._put_back]

    def refuse(self, row: Unwritable) -> None:
        """Take a row back of which no mail can be made; it is settled with the next refill.

        Not at once: the caller may be about to write dots, which no database may come between.
        """
        self._refused.append(row)

    def drop(self, digest_ids: set[int]) -> None:
        """Give back the mails of digests that are not being sent any more."""
        gone = [mail.claim for mail in self._ready if mail.digest_id in digest_ids]
        gone += [draft.claim for draft in self._drafts if draft.row.digest_id in digest_ids]
        if gone:
            with self._job.write() as session:
                claim.give_back(session, gone)
        self._ready = deque(mail for mail in self._ready if mail.digest_id not in digest_ids)
        self._drafts = deque(d for d in self._drafts if d.row.digest_id not in digest_ids)

    def give_back(self) -> None:
        """All that is held, back into the queue."""
        claims = self._claims()
        if claims:
            with self._job.write() as session:
                claim.give_back(session, claims)
        for held in (self._ready, self._drafts, self._signing, self._put_back, self._refused):
            held.clear()

    def refill(self, offered: Collection[Claim] = ()) -> dict[int | None, str]:
        """Take what was signed, claim what is needed, and write a few mails.

        offered: the claims that the caller holds. After an error of the database nobody knows
        what was claimed; then all that neither of us holds is given back first.

        Returns the digests of which no mail can be made at all, and why: that is about the message
        and nobody's failure, so they are to be paused.
        """
        if self._lost_count:
            held = {*offered, *self._claims()}
            with self._job.write() as session:
                claim.give_back_unheld(session, self._job.owner, held)
            self._lost_count = False
        self._lost_count = True
        self._refill()
        self._lost_count = False
        broken, self._broken = self._broken, {}
        return broken

    def _refill(self) -> None:
        self._collect()
        seconds = time.monotonic()
        if self._job.rests():
            return
        if self._refused:
            self._settle_refused()
        wants_digests = len(self._drafts) < self._low and seconds >= self._dry_until
        if wants_digests or seconds - self._looked_at >= _LOOK_EVERY:
            self._looked_at = seconds
            found = self._claim(wants_digests=wants_digests)
            if found:
                self._draft(found)
            elif wants_digests:
                self._dry_until = time.monotonic() + _DRY_FOR
        made = len(self._ready) + sum(len(mails) for _future, mails in self._signing)
        wanted = self._low if self._signers is None else _SIGNED_AHEAD * self._low
        may_write = not self.wait or (self._drafts and self._drafts[0].letter != LetterName.DIGEST)
        if self._drafts and made < wanted and may_write:
            self._write(min(self._low, len(self._drafts)))

    def _settle_refused(self) -> None:
        with self._job.write() as session:
            for row in self._refused:
                unwritable.record(session, row, self._job)
        self._refused.clear()

    def _claim(self, *, wants_digests: bool) -> list[Claim]:
        job = self._job
        now = job.clock()
        with job.read() as session:
            digests = job.scope.sending(session) if wants_digests else []
            if not self._put_back and not claim.waiting(session, digests, now):
                return []
        if digests:
            self._adapt()
        found: list[Claim] = []
        with job.write() as session:
            self._flush(session)
            if claim.letters_waiting(session):
                found = claim.personal(session, job.owner, limit=_LETTERS_AT_ONCE)
            for number in digests:
                room = self._batch - len(found)
                if room <= 0:
                    break
                found += claim.digest(session, number, job.owner, limit=room, now=now)
            failpoints.reached("claiming")
        self._put_back.clear()
        failpoints.reached("claimed")
        return found

    def _flush(self, session: Session) -> None:
        now = self._job.clock()
        claim.put_back(
            session,
            [(held, now + timedelta(seconds=seconds)) for held, seconds in self._put_back],
        )

    def _adapt(self) -> None:
        """Make a batch last about a second."""
        seconds = time.monotonic()
        lasted = seconds - self._claimed_at
        shortest, longest = _BATCH_SECONDS
        if lasted < shortest:
            self._batch = min(self._batch * 2, _LARGEST)
        elif lasted > longest:
            self._batch = max(self._batch // 2, _SMALLEST)
        self._claimed_at = seconds

    def _draft(self, claims: list[Claim]) -> None:
        """Note in the journal what was claimed, and keep what may leave as drafts."""
        job = self._job
        with job.read() as session:
            drafts = self._writer.drafts(session, claims)
            closed = _closed(session, drafts)
            number = session.scalar(select(Installation.log_number)) or 1
        # Before anything of it leaves: an older database would take these mails for unsent.
        job.journal.note(claims, log=number)
        failpoints.reached("noted")
        drafts = self._still_known(drafts)
        kept = self._sound([draft for draft in drafts if draft.claim.id not in closed])
        if closed:
            self._let_go([draft for draft in drafts if draft.claim.id in closed])
        letters = [draft for draft in kept if draft.letter != LetterName.DIGEST]
        self._drafts.extendleft(reversed(letters))
        self._drafts.extend(draft for draft in kept if draft.letter == LetterName.DIGEST)

    def _sound(self, drafts: list[Draft]) -> list[Draft]:
        """Without those of digests of which no mail can be made: they wait in the queue."""
        sound = []
        for draft in drafts:
            number, error = draft.row.digest_id, draft.source
            if number is None or not isinstance(error, Exception):
                sound.append(draft)
                continue
            if number not in self._broken:
                self._broken[number] = unwritable.tell(number, error)
            self._put_back.append((draft.claim, 0.0))
        return sound

    def _still_known(self, drafts: list[Draft]) -> list[Draft]:
        """Without those that are sent again by themselves, and that the relay forgot meanwhile."""
        window = timedelta(hours=self._job.settings.idempotency_hours) - _MARGIN
        now = self._job.clock()
        late = {
            draft.claim
            for draft in drafts
            if draft.row.reason == RETRY_BY_ITSELF and now - draft.row.created_at >= window
        }
        if late:
            with self._job.write() as session:
                for held in late:
                    settle.doubtful(session, held, reason=TOO_LATE, now=now)
        return [draft for draft in drafts if draft.claim not in late]

    def _let_go(self, drafts: list[Draft]) -> None:
        """Skip them, also those of which no mail could be made: an erased row has no address."""
        made = [self._writer.write(draft) for draft in drafts]
        with self._job.write() as session:
            for draft, each in zip(drafts, made, strict=True):
                mailbox = each.mailbox_hash if isinstance(each, Mail) else None
                letter = LetterName(draft.letter)
                settle.look(session, draft.claim, letter, mailbox, now=self._job.clock())

    def _write(self, count: int) -> None:
        made = [self._writer.write(draft) for draft in self._paced(count)]
        mails = [each for each in made if isinstance(each, Mail)]
        if len(mails) < len(made):
            with self._job.write() as session:
                for each in made:
                    if isinstance(each, Unwritable):
                        unwritable.record(session, each, self._job)
        self._sign(mails)

    def _paced(self, count: int) -> Iterator[Draft]:
        """The drafts whose turn it is; those of a domain that must wait go back until theirs.

        A person's own letter never waits; what is counted for it is missing to the digests.
        Asked before a mail is written and signed, which costs more than all the rest.
        """
        for _ in range(count):
            draft = self._drafts[0]
            if draft.letter == LetterName.DIGEST:
                if seconds := self._pace.overall():
                    self._hold_until = time.monotonic() + seconds
                    return
                if seconds := self._pace.wait(draft.domain):
                    self._put_back.append((self._drafts.popleft().claim, seconds))
                    continue
            else:
                self._pace.went(draft.domain)
            yield self._drafts.popleft()

    def _sign(self, mails: list[Mail]) -> None:
        if self._signers is None or not mails:
            self._take(mails)
            return
        letters = [mail for mail in mails if mail.letter != LetterName.DIGEST]
        for some in (letters, [mail for mail in mails if mail.letter == LetterName.DIGEST]):
            if some:
                future = self._signers.submit([(mail.raw, mail.created_at) for mail in some])
                self._signing.append((future, some))
                future.add_done_callback(lambda _done: self._wake())

    def _collect(self) -> None:
        while self._signing and self._signing[0][0].done():
            future, mails = self._signing.popleft()
            if (error := future.exception()) is not None:
                if not isinstance(error, BadInput):
                    raise error
                self._one_by_one(mails)
                continue
            for mail, raw in zip(mails, future.result(), strict=True):
                if len(raw) == len(mail.raw):
                    self._unsigned(mail)
                mail.raw = raw
            self._take(mails)

    def _one_by_one(self, mails: list[Mail]) -> None:
        """Sign mails of which one cannot be signed: it fails alone."""
        assert self._signers is not None  # noqa: S101 - somebody signed them
        for mail in mails:
            try:
                mail.raw = self._signers.submit([(mail.raw, mail.created_at)]).result()[0]
            except BadInput as error:
                self.refuse(Unwritable(mail.claim, error))
            else:
                self._take([mail])

    def _unsigned(self, mail: Mail) -> None:
        """Tell once that no key is for the domain that a letter or digest is from."""
        what = mail.digest_id or mail.letter
        if what not in self._said_unsigned:
            self._said_unsigned.add(what)
            log.warning("unsigned", letter=mail.letter, digest=mail.digest_id)

    def _take(self, mails: list[Mail]) -> None:
        if any(mail.doubt for mail in mails):
            mails = [same for mail in mails if (same := self._same(mail)) is not None]
        for mail in reversed(mails):
            if mail.letter != LetterName.DIGEST:
                self._ready.appendleft(mail)
        self._ready.extend(mail for mail in mails if mail.letter == LetterName.DIGEST)

    def _same(self, mail: Mail) -> Mail | None:
        """A mail that may have arrived once, if it can be made again as it was; else None."""
        if same_as_recorded(mail):
            return mail
        with self._job.read() as session:
            candidates = self._writer.again_with_older_keys(session, mail)
        if self._signers is not None and candidates:
            signed = self._signers.submit([(each.raw, each.created_at) for each in candidates])
            for each, raw in zip(candidates, signed.result(), strict=True):
                each.raw = raw
        for each in candidates:
            if same_as_recorded(each):
                return each
        with self._job.write() as session:
            unwritable.record(session, changed(mail), self._job)
        return None


def _closed(session: Session, drafts: list[Draft]) -> set[int]:
    """Those that would be given up just before the dot: to offer them would cost a connection.

    Of digests, only readers who are not subscribed any more are looked at; the others pass the
    last look in all likelihood.
    """
    by_letter: dict[LetterName, list[int]] = {}
    for draft in drafts:
        if draft.letter != LetterName.DIGEST or not draft.looks_open:
            by_letter.setdefault(LetterName(draft.letter), []).append(draft.claim.id)
    found: set[int] = set()
    for letter, numbers in by_letter.items():
        found |= gate.closed(session, letter, numbers)
    return found
