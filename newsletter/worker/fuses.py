"""Which digests must be paused, because of what the relay answered to their mails."""

from __future__ import annotations

from newsletter.sending.breaker import Breaker
from newsletter.store import LetterName
from newsletter.worker.answers import Answer, Kind


class Fuses:
    """One breaker for each digest.

    blown: the digests to pause, with the reason for the operator; None stands for all of them.
    Whoever has paused one takes it out.
    """

    def __init__(self) -> None:
        self.blown: dict[int | None, str] = {}
        self._breakers: dict[int, Breaker] = {}

    def count(self, answer: Answer) -> None:
        """Tell the digest's breaker. The mail itself is put off with the round that follows."""
        number = answer.mail.digest_id
        if number is None or answer.mail.letter != LetterName.DIGEST:
            return
        breaker = self._breakers.setdefault(number, Breaker())
        if answer.kind is Kind.ACCEPTED:
            breaker.accepted()
        elif answer.kind is Kind.POLICY:
            breaker.refused()
            if breaker.trips():
                del self._breakers[number]
                self.blown[number] = str(answer.result)
        elif answer.kind is not Kind.UNKNOWN:
            breaker.other()
