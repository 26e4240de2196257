"""Which digests must be paused, because of what the relay answered to their mails."""

from __future__ import annotations

from sqlalchemy.orm import Session

from newsletter.sending import settle
from newsletter.sending.breaker import Breaker
from newsletter.store import LetterName
from newsletter.worker.answers import Answer, Kind


class Fuses:
    """One breaker for each digest.

    blown: the digests to pause, with the reason for the operator; None stands for all of them.
    Whoever has paused one takes it out. unsure: those to be paused unless a mail of theirs was
    accepted, by whomever and whenever, with the reason: `judge` finds out.
    """

    def __init__(self) -> None:
        self.blown: dict[int | None, str] = {}
        self.unsure: dict[int, str] = {}
        self._breakers: dict[int, Breaker] = {}
        # Paused; what was on its way then says nothing new after an operator's word to go on.
        self._out: set[int] = set()

    def begun(self, digest_id: int | None) -> None:
        """A mail is offered; of a digest that was paused, that means that it goes on."""
        if self._out and digest_id is not None:
            self._out.discard(digest_id)

    def count(self, answer: Answer) -> None:
        """Tell the digest's breaker. The mail itself is put off with the round that follows."""
        mail, number = answer.mail, answer.mail.digest_id
        if number is None or mail.letter != LetterName.DIGEST or number in self._out:
            return
        breaker = self._breakers.setdefault(number, Breaker())
        if answer.kind is Kind.ACCEPTED:
            breaker.accepted(mail.claim.id)
        elif answer.kind is Kind.POLICY:
            say = breaker.refused_again if mail.met_policy else breaker.refused
            say(mail.claim.id)
            if breaker.trips():
                reason = str(answer.result)
                if breaker.was_accepted:
                    self._blow(number, reason)
                else:
                    self.unsure[number] = reason
        elif answer.kind is not Kind.UNKNOWN:
            breaker.other(mail.claim.id)

    def judge(self, session: Session) -> None:
        """Ask the rows about the digests that are unsure, for an empty window says little."""
        for number, reason in list(self.unsure.items()):
            breaker = self._breakers[number]
            breaker.was_accepted |= settle.was_accepted(session, number)
            del self.unsure[number]
            if breaker.trips():
                self._blow(number, reason)

    def _blow(self, number: int, reason: str) -> None:
        del self._breakers[number]
        self.unsure.pop(number, None)
        self._out.add(number)
        self.blown[number] = reason
