"""The sending loop: one thread that hands mails over, on all connections of its process.

It goes in rounds. What the relay answered is settled, and the mails of which only the dot is
missing are armed, in one short transaction (newsletter.worker.rounds); after its commit the dots
are written, each with the next mail's envelope behind it. So a round costs one write to the disk,
however many mails are in it, and a mail one journey to the relay and back. Whatever goes wrong
before an arming is committed closes that connection without the dot.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from itertools import islice

import structlog
from sqlalchemy.exc import DBAPIError

from newsletter import failpoints
from newsletter.errors import BadInput
from newsletter.mail.pool import Pool
from newsletter.mail.transport import (
    Event,
    Offer,
    Offered,
    Refused,
    RelayProblem,
    Unknown,
)
from newsletter.sending.claim import Claim
from newsletter.sending.pace import Pace
from newsletter.sending.settle import Verdict
from newsletter.sending.write import Mail, Unwritable
from newsletter.store import LetterName
from newsletter.store.clock import since_boot
from newsletter.worker import answers, patience
from newsletter.worker.answers import Answer, Kind
from newsletter.worker.fuses import Fuses
from newsletter.worker.job import Job
from newsletter.worker.rounds import Round, Rounds
from newsletter.worker.supply import Supply

log = structlog.get_logger()

_TICK = 0.2  # seconds until the loop looks around when nothing happens
# A relay hangs up on a silent connection sooner or later; do it first.
_SILENT_FOR = 2.0
_MAX_REASON = 500
_SMALLEST_TURN = 4
_LAST_WORDS = 1.0  # seconds for the relay's answers when an error ends the loop


class Handover:
    """One process's loop. pool: makes the connections, anew after each rest. supply: what goes
    next, made with what wakes this loop. out_of_work: called when it becomes idle.

    `moved_at`: when it last went round, on the clock of newsletter.store.clock; one that hangs
    loses its lease. `is_idle`: nothing held, nothing found.
    """

    def __init__(
        self,
        job: Job,
        pool: Callable[[], Pool],
        pace: Pace,
        supply: Callable[[Callable[[], None]], Supply],
        *,
        out_of_work: Callable[[], None] = lambda: None,
    ) -> None:
        self._job = job
        self._make_pool = pool
        self._pool = pool()
        self._pace = pace
        self._supply = supply(self.wake)
        self._out_of_work = out_of_work
        self._was_idle = False
        self._in_pool: dict[Claim, Offer] = {}  # offered and not armed; a row may be claimed anew
        self._armed: dict[Claim, Mail] = {}  # the dot is written, no answer yet
        self._offered: dict[Claim, Offer] = {}  # only the dot is missing
        self._answers: list[Answer] = []
        self._doubtful: list[Claim] = []  # perhaps armed, and surely without a dot
        self._rounds = Rounds(job, self.wake)
        self._fuses = Fuses()
        self._gives_back = False
        self._arming: set[Claim] = set()  # of the present round
        self._busy_at = time.monotonic()
        self.moved_at = since_boot()

    @property
    def is_idle(self) -> bool:
        """Whether it has nothing to do."""
        return self._supply.is_dry and not (
            self._in_pool
            or self._armed
            or self._answers
            or self._doubtful
            or self._rounds.is_writing
        )

    def wake(self) -> None:
        """End its sleep. From any thread."""
        self._pool.wake()

    def ring(self) -> None:
        """There is work: look at once. From any thread."""
        self._supply.ring()
        self._pool.wake()

    def run(self) -> None:
        """Hand over until the job ends; then what is armed is waited for, the rest given back."""
        try:
            while not self._job.ended():
                try:
                    if not self._job.relay.wait():
                        self._fuses.blown |= self._supply.refill(self._in_pool)
                        self._begin()
                    self._go_on(_TICK)
                except (DBAPIError, OSError) as error:
                    self._wait_for_database(error)
            self._drain()
        except BaseException:
            with contextlib.suppress(Exception):
                self._note(self._pool.close(_LAST_WORDS))
            self.close()
            with contextlib.suppress(Exception):  # the first error is the one that is told
                self._let_go()
            raise
        finally:
            self.close()

    def close(self) -> None:
        """Close all connections: no dot may follow, whatever it was."""
        self._pool.close(0)
        self._rounds.close()

    def _begin(self) -> None:
        """Offer mails on the connections that are free."""
        if self._job.rests():
            return
        while self._pool.free() > 0:
            offer = self._offer()
            if offer is None:
                break
            self._pool.offer(offer)
        self._rest()

    def _offer(self) -> Offer | None:
        """What goes next; a mail that cannot go over a wire fails, and the others go on."""
        while (mail := self._supply.next()) is not None:
            try:
                # Our builder's bytes (newsletter.mail.message): not to be searched once more.
                offer = Offer(
                    mail, mail.sender, mail.recipient, mail.raw, smtputf8=mail.smtputf8, clean=True
                )
            except BadInput as error:
                self._supply.refuse(Unwritable(mail.claim, error))
            else:
                self._in_pool[mail.claim] = offer
                self._fuses.begun(mail.digest_id)
                return offer
        return None

    def _rest(self) -> None:
        seconds = time.monotonic()
        if self._in_pool or self._armed:
            self._busy_at = seconds
        elif self._pool.open and seconds - self._busy_at > _SILENT_FOR:
            self._pool.close()
            self._pool = self._make_pool()

    def _go_on(self, seconds: float) -> None:
        """Wait for the relay for at most so long, and do the round that follows."""
        limits = [seconds, *(each for each in (self._supply.wait, self._job.relay.wait()) if each)]
        if self._offered and not self._rounds.is_writing:
            limits = [0.0]
        self._note(self._pool.poll(min(limits)))
        self._act()
        if self._rounds.is_written:
            self._end_round()
        if not self._rounds.is_writing and (self._offered or self._answers or self._doubtful):
            self._begin_round()
            if self._rounds.is_written:
                self._end_round()
        self.moved_at = since_boot()
        if self.is_idle and not self._was_idle:
            self._out_of_work()
        self._was_idle = self.is_idle

    def _note(self, events: Iterable[Event]) -> None:
        for event in events:
            offer: Offer = event.offer
            mail: Mail = offer.key
            if isinstance(event, Offered):
                mail.sha256  # noqa: B018 - computed here, while no transaction is open
                self._offered[mail.claim] = offer
                failpoints.reached("offered")
                continue
            had_dot = self._armed.pop(mail.claim, None) is not None
            self._in_pool.pop(mail.claim, None)
            self._offered.pop(mail.claim, None)
            self._answer(Answer(mail, event.result), armed=had_dot or mail.claim in self._arming)

    def _answer(self, answer: Answer, *, armed: bool) -> None:
        kind = answer.kind
        if kind is Kind.RELAY:
            answer = self._relay_failed(answer)
            kind = answer.kind
        if kind in (Kind.RETURNED, Kind.RELAY):
            if armed:
                # Its row is armed, or being armed, and the mail was surely not accepted.
                self._doubtful.append(answer.mail.claim)
            else:
                self._supply.again(answer.mail)
            return
        if kind is not Kind.UNKNOWN and answer.reply is not None:
            self._job.relay.worked()
        if answer.reply is not None and answer.pushes_back:
            self._pace.pushed_back(answer.mail.domain, answer.reply)
        self._fuses.count(answer)
        self._answers.append(answer)
        failpoints.reached("answered")

    def _relay_failed(self, answer: Answer) -> Answer:
        """Note a problem with the relay. Nothing is written here: the other events come first.

        A sender that is refused (MAIL FROM) is one publication's: its digest is paused, and a
        letter of it is put off for as long as it takes, while the others go on.
        """
        problem = answer.result
        assert isinstance(problem, RelayProblem)  # noqa: S101 - that is what its kind says
        if problem.stage == "mail" and problem.permanent and problem.reply is not None:
            number = answer.mail.digest_id
            if number is None or answer.mail.letter != LetterName.DIGEST:
                return Answer(answer.mail, Refused(problem.reply, "mail"))
            self._fuses.blown[number] = str(problem)
            return answer
        delay = self._job.relay.failed(problem)
        if delay is not None:
            code = problem.reply.code if problem.reply else None
            log.error("relay_problem", stage=problem.stage, code=code, next_try_in=delay)
        self._gives_back = True
        if problem.permanent:
            self._fuses.blown[None] = str(problem)
        return answer

    def _act(self) -> None:
        """Do what the last events ask of the database, beside the round."""
        if self._fuses.unsure:
            with self._job.read() as session:
                self._fuses.judge(session)
        while self._fuses.blown:
            number, reason = next(iter(self._fuses.blown.items()))
            self._pause(None if number is None else {number}, reason)
            del self._fuses.blown[number]
        if self._gives_back:
            # Another process may have a way to the relay.
            self._supply.give_back()
            self._gives_back = False

    # The round.

    def _begin_round(self) -> None:
        offered = self._turn()
        if self._job.rests():
            self._leave(offered)
            offered = []
        self._arming = {offer.key.claim for offer in offered}
        begun = Round(offered, self._answers, self._doubtful)
        self._answers, self._doubtful = [], []
        self._rounds.begin(begun)

    def _wait_for_database(self, error: Exception) -> None:
        """A failure that passes: what is held stays held, and is tried again. Raises any other."""
        if not patience.passes(error):
            raise error
        name = "disk_waits" if isinstance(error, OSError) else "database_waits"
        log.warning(name, error=type(error).__name__)
        time.sleep(patience.PAUSES[1])

    def _end_round(self) -> None:
        ended, verdicts = self._rounds.end()
        self._arming = set()
        if isinstance(verdicts, Exception):
            # Whether the commit was made, nobody knows; that no dot was written, we do.
            self._answers = ended.answers + self._answers
            self._doubtful += ended.doubtful
            self._leave(ended.offered)
            self._wait_for_database(verdicts)
            return
        answers.tell(ended.answers)
        failpoints.reached("settled")
        is_late = since_boot() - ended.began > self._job.lease or self._job.hurries()
        self._finish(ended.offered, verdicts, is_late=is_late)

    def _turn(self) -> list[Offer]:
        """The offered mails of this round: at most half of those that are under way.

        The relay has the other half to think about while this round is written to the disk.
        """
        most = max(_SMALLEST_TURN, (len(self._in_pool) + len(self._armed) + 1) // 2)
        chosen = list(islice(self._offered, most))
        return [self._offered.pop(number) for number in chosen]

    def _finish(self, offered: list[Offer], verdicts: list[Verdict], *, is_late: bool) -> None:
        """The dots of the armed ones; the other connections are closed without one."""
        waits: set[int] = set()
        late: list[Offer] = []
        for offer, verdict in zip(offered, verdicts, strict=True):
            mail: Mail = offer.key
            if self._in_pool.get(mail.claim) is not offer:
                continue  # its line broke meanwhile; its answer is for the next round
            if verdict is Verdict.ARMED and is_late:
                # This process stood still between the commit and here: somebody may have taken
                # the row for uncertain, and an operator may have acted on it.
                late.append(offer)
            elif verdict is Verdict.ARMED:
                del self._in_pool[mail.claim]
                self._armed[mail.claim] = mail
                self._pool.finish(offer, self._next())
            else:
                del self._in_pool[mail.claim]
                self._pool.abandon(offer)
                name = "claim_lost" if verdict is Verdict.LOST else verdict.value
                log.info(name, delivery=mail.claim.id)
                if verdict is Verdict.WAITS and mail.digest_id is not None:
                    waits.add(mail.digest_id)
        failpoints.reached("dotted")
        self._leave(late)
        if waits:
            self._supply.drop(waits)

    def _next(self) -> Offer | None:
        """What goes behind a dot."""
        return None if self._job.rests() else self._offer()

    def _leave(self, offered: Iterable[Offer]) -> None:
        """Close the connections of offers that will get no dot; their rows go back.

        One whose line broke while its round was written has its answer already.
        """
        for offer in offered:
            claim = offer.key.claim
            if self._in_pool.get(claim) is offer:
                self._pool.abandon(offer)
                del self._in_pool[claim]
                self._doubtful.append(claim)

    # Pausing.

    def _pause(self, digest_ids: set[int] | None, reason: str) -> None:
        """Pause digests; None: all that this worker sends."""
        job = self._job
        with job.write() as session:
            wanted = job.scope.sending(session) if digest_ids is None else sorted(digest_ids)
            paused = answers.pause(session, wanted, reason[:_MAX_REASON])
        for number in paused:
            log.error("digest_paused", digest=number)
        self._supply.drop(set(wanted))

    # The end.

    def _drain(self) -> None:
        """Arm nothing more, wait for what is armed for the grace time, give the rest back."""
        self._leave(self._offered.values())
        self._offered.clear()
        until = time.monotonic() + self._job.settings.stop_grace
        self._gives_back = True
        while time.monotonic() < until and not self._job.hurries():
            try:
                self._go_on(min(_TICK, max(0.0, until - time.monotonic())))
            except DBAPIError as error:
                self._wait_for_database(error)
            if not (self._armed or self._rounds.is_writing or self._gives_back):
                break
        self._note(self._pool.close(0))
        self._let_go()

    def _let_go(self) -> None:
        """Record what is known, now that all connections are closed: nothing is held after it."""
        if self._rounds.is_writing:
            # Nothing of it gets a dot. Its mails are in the pool still, or have their answer.
            ended, _verdicts = self._rounds.end()
            self._answers = ended.answers + self._answers
            self._doubtful += ended.doubtful
        self._answers += [Answer(mail, Unknown()) for mail in self._armed.values()]
        self._doubtful += list(self._in_pool)
        for held in (self._armed, self._in_pool, self._offered):
            held.clear()
        for pause in (*patience.PAUSES, None):
            try:
                if self._answers or self._doubtful:
                    self._rounds.write(Round([], self._answers, self._doubtful))
                    self._answers, self._doubtful = [], []
                self._supply.give_back()
                break
            except DBAPIError as error:
                if pause is None or not patience.passes(error):
                    raise
                time.sleep(pause)
