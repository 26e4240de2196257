"""What the relay's answers mean for the rows, the digests and the pace; and recording them.

An answer about a recipient touches that recipient alone. One about us (who sends, how we log in,
what the relay's policy is) or about the message as a whole marks nobody failed: such mails are put
off, and the digest is paused for an operator to look.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto

import structlog
from sqlalchemy.orm import Session

from newsletter.mail.transport import (
    Refused,
    RelayProblem,
    Reply,
    Returned,
    TransportError,
    TryLater,
    Unknown,
)
from newsletter.sending import control, settle
from newsletter.sending.pace import Retries
from newsletter.sending.write import Mail
from newsletter.store import Digest, DigestState

log = structlog.get_logger()

Result = Reply | TransportError


class Kind(Enum):
    """What an answer is about."""

    ACCEPTED = auto()
    RECIPIENT = auto()  # this address, for good
    NO_MAILBOX = auto()  # this address does not exist
    LATER = auto()  # this mail, another time
    POLICY = auto()  # us, or the message as a whole
    UNKNOWN = auto()  # nobody knows
    RELAY = auto()  # the relay does not work with us
    RETURNED = auto()  # the mail was not begun


@dataclass(slots=True, eq=False)
class Answer:
    """A mail and what came of it. kind: see Kind. reply: what the relay said, if it did."""

    mail: Mail
    result: Result
    kind: Kind = field(init=False)
    reply: Reply | None = field(init=False)

    def __post_init__(self) -> None:
        """Both are asked for again and again."""
        result = self.result
        if isinstance(result, Reply):
            self.kind, self.reply = Kind.ACCEPTED, result
        else:
            self.kind, self.reply = _kind(result), result.reply

    @property
    def pushes_back(self) -> bool:
        """Whether the domain asks for less: RFC 5321 §4.2.3 gives these four to be tried again."""
        return (
            self.kind is Kind.LATER
            and self.reply is not None
            and self.reply.code in (421, 450, 451, 452)
        )


def _kind(error: TransportError) -> Kind:
    if isinstance(error, Refused):
        return _refusal(error)
    return next((kind for each, kind in _KINDS if isinstance(error, each)), Kind.LATER)


_KINDS: tuple[tuple[type[TransportError], Kind], ...] = (
    (Unknown, Kind.UNKNOWN),
    (RelayProblem, Kind.RELAY),
    (Returned, Kind.RETURNED),
    (TryLater, Kind.LATER),
)


def _refusal(error: Refused) -> Kind:
    """RFC 3463 §3: X.1.x is about addresses, X.7.x about policy."""
    enhanced = error.reply.enhanced or ""
    if enhanced.startswith("5.7."):
        return Kind.POLICY
    if error.stage != "rcpt":
        return Kind.POLICY  # DATA and the dot: it is the message that is refused
    # 5.1.1 and its like; 5.1.7 and 5.1.8 are about the sender's address.
    if enhanced in ("5.1.7", "5.1.8"):
        return Kind.POLICY
    return Kind.NO_MAILBOX if enhanced.startswith("5.1.") else Kind.RECIPIENT


def record(session: Session, answers: Sequence[Answer], *, retries: Retries, now: datetime) -> None:
    """Settle the rows of `answers`. Running it once more after a commit changes nothing."""
    accepted = [
        (each.mail.claim, each.result) for each in answers if isinstance(each.result, Reply)
    ]
    taken = settle.accepted(session, accepted, now=now) if accepted else 0
    if taken < len(accepted):
        log.warning("claim_lost", rows=len(accepted) - taken)
    for each in answers:
        if each.kind is not Kind.ACCEPTED:
            _record(session, each, retries=retries, now=now)


def _record(session: Session, answer: Answer, *, retries: Retries, now: datetime) -> None:
    mail, kind = answer.mail, answer.kind
    if kind is Kind.UNKNOWN:
        settle.uncertain(session, mail.claim, now=now)
    elif kind in (Kind.RECIPIENT, Kind.NO_MAILBOX):
        reason = settle.REFUSED if kind is Kind.RECIPIENT else settle.NO_MAILBOX
        settle.failed(session, mail.claim, answer.reply, reason=reason, now=now)
    elif kind in (Kind.LATER, Kind.POLICY):
        put_off = settle.deferred if kind is Kind.LATER else settle.refused_for_policy
        put_off(
            session,
            mail,
            answer.reply,
            retries=retries,
            chance=random.random(),  # noqa: S311 - spreads retries, guards nothing
            now=now,
        )


def tell(answers: Iterable[Answer]) -> None:
    """Write to the log what was not simply accepted; never an address."""
    for each in answers:
        if each.kind is Kind.ACCEPTED:
            continue
        code = each.reply.code if each.reply else None
        say = log.warning if each.kind is Kind.UNKNOWN else log.info
        name = "uncertain" if each.kind is Kind.UNKNOWN else "not_accepted"
        kind, stage = each.kind.name.lower(), each.result.stage
        say(name, delivery=each.mail.claim.id, kind=kind, stage=stage, code=code)


def pause(session: Session, digest_ids: Iterable[int], reason: str) -> list[int]:
    """Pause those of the digests that are being sent; which ones these were.

    reason: for the operator, one line.
    """
    paused = []
    for number in digest_ids:
        digest = session.get(Digest, number)
        if digest is None:
            continue
        session.refresh(digest, with_for_update={"of": Digest})
        if digest.state == DigestState.SENDING:
            control.pause(session, digest, reason=reason)
            paused.append(number)
    return paused
