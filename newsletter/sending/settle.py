"""Arming a mail before its final dot, and recording what became of it.

Every statement here names the row's epoch and the states that it may change: a worker that lost
its claim changes nothing. Between `arm` and what follows it the mail may or may not have been
accepted; a row that is left armed becomes uncertain (newsletter.sending.claim.reap).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from functools import cache
from math import inf
from typing import Any

from sqlalchemy import (
    Select,
    String,
    Text,
    Update,
    bindparam,
    case,
    exists,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session

from newsletter.mail.transport import Reply
from newsletter.sending.claim import Claim, give_back
from newsletter.sending.gate import WAITING, may_go, why_not
from newsletter.sending.pace import Retries
from newsletter.sending.write import Mail
from newsletter.store import Delivery, DeliveryState, LetterName
from newsletter.store.doubt import POLICY, in_doubt, or_uncertain
from newsletter.store.prepared import Prepared

# Why a delivery failed, beside what the relay said.
REFUSED = "refused"
GAVE_UP = "gave-up"
# There is no such mailbox (RFC 3463 §3.2, class X.1): the subscription ends, too.
NO_MAILBOX = "no-mailbox"
# Put off by an answer that came after the row had become uncertain.
LATE = "late"

_MAX_REPLY = 1000


class Verdict(StrEnum):
    """What the last look said."""

    ARMED = "armed"  # write the dot, now
    SKIPPED = "skipped"  # must not be mailed; the row says why
    WAITS = "waits"  # the digest is paused, or sending is halted; the row is queued again
    LOST = "lost"  # the row is no longer this worker's


def arm(session: Session, mails: Sequence[Mail], *, now: datetime) -> list[Verdict]:
    """The last look at each mail, and the promise to write its dot, in one statement each.

    Only ARMED, once committed, allows the dot: for every other verdict the connection must be
    closed without it. The rest of what such a row needs is done: skipped with its reason, or
    queued. Returns the verdicts in the order of `mails`.

    Whoever left before this statement began is not mailed. PostgreSQL (READ COMMITTED) reads
    consent as of that beginning, though it may wait for the row after it: a leave that is committed
    in between comes after the arming, as one does that is committed a moment later. SQLite has one
    writer, so there is no between.
    """
    armed: set[Claim] = set()
    by_letter: dict[LetterName, list[Mail]] = {}
    for mail in mails:
        by_letter.setdefault(mail.letter, []).append(mail)
    for letter, some in by_letter.items():
        armed |= _arm(session, letter, some)
    return [
        Verdict.ARMED
        if mail.claim in armed
        else look(session, mail.claim, mail.letter, mail.mailbox_hash, now=now)
        for mail in mails
    ]


def _arm(session: Session, letter: LetterName, mails: Sequence[Mail]) -> set[Claim]:
    """Those of `mails`, all of one letter, that were armed."""
    rows = [(mail.claim.id, mail.claim.epoch, mail.mailbox_hash, mail.sha256) for mail in mails]
    changed = _arming(letter).each(session, rows)
    return {mail.claim for mail, count in zip(mails, changed, strict=True) if count == 1}


def look(
    session: Session,
    claim: Claim,
    letter: LetterName,
    mailbox_hash: bytes | None,
    *,
    now: datetime,
) -> Verdict:
    """Why a claimed mail may not be handed over; the row is skipped, or queued again.

    mailbox_hash: None where it is not known, as that of an erased row; suppressions are not seen
    then. Never ARMED. When nothing stands against the mail any more, it waits for its next turn.
    """
    values = {
        "row": claim.id,
        "row_epoch": claim.epoch,
        "mailbox_hash": mailbox_hash,
    }
    found = session.connection().execute(_why_not_query(letter), values).first()
    if found is None:
        return Verdict.LOST
    reason = found[0]
    if reason is None or reason in WAITING:
        return Verdict.WAITS if give_back(session, [claim]) else Verdict.LOST
    changed = _settle(
        session, claim, DeliveryState.SKIPPED, _CLAIMED, settled_at=now, reason=reason
    )
    return Verdict.SKIPPED if changed else Verdict.LOST


def accepted(session: Session, replies: Sequence[tuple[Claim, Reply]], *, now: datetime) -> int:
    """The relay took these mails; how many rows were still of their claims.

    A row that became uncertain meanwhile gets its answer late, and is accepted too.
    """
    rows = [(claim.id, claim.epoch, reply.code, _storable(reply)) for claim, reply in replies]
    return _accepting().many(session, rows, at=now, why=None)


def failed(
    session: Session, claim: Claim, reply: Reply | None, *, reason: str, now: datetime
) -> bool:
    """The mail was refused for good, or cannot be written. False when the claim was lost."""
    return _settle(
        session, claim, DeliveryState.FAILED, _HELD, settled_at=now, reason=reason, reply=reply
    )


def deferred(
    session: Session,
    mail: Mail,
    reply: Reply | None,
    *,
    retries: Retries,
    chance: float,
    now: datetime,
) -> DeliveryState | None:
    """The relay did not take the mail now: it is put off, or failed when it is too old.

    chance: see Retries.next. Returns the state it got, None when the claim was lost.
    """
    again = _again(mail, retries, chance, now)
    if again is None:
        changed = failed(session, mail.claim, reply, reason=GAVE_UP, now=now)
        return DeliveryState.FAILED if changed else None
    put_off = _settle(
        session, mail.claim, DeliveryState.DEFERRED, _BEFORE_RESULT, due_at=again, reply=reply
    )
    if put_off:
        return DeliveryState.DEFERRED
    # The row became uncertain while the relay was thinking; its digest may be finished by now,
    # and nothing would try a deferred row of it again. An operator can retry a failed one.
    changed = _settle(
        session,
        mail.claim,
        DeliveryState.FAILED,
        _UNCERTAIN,
        settled_at=now,
        reason=LATE,
        reply=reply,
    )
    return DeliveryState.FAILED if changed else None


def refused_for_policy(
    session: Session,
    mail: Mail,
    reply: Reply | None,
    *,
    retries: Retries,
    chance: float,
    now: datetime,
) -> DeliveryState | None:
    """The answer is about us, or the message as a whole: the mail is put off, whoever it is for.

    Nobody is given up for that, but a reader of a digest that others got: it is their own server.
    chance: see Retries.next. Returns the state it got, None when the claim was lost.
    """
    is_their_server = (
        mail.letter == LetterName.DIGEST
        and mail.digest_id is not None
        and was_accepted(session, mail.digest_id)
    )
    if not is_their_server:
        retries = replace(retries, give_up=inf)
    again = _again(mail, retries, chance, now)
    if again is None:
        changed = failed(session, mail.claim, reply, reason=POLICY, now=now)
        return DeliveryState.FAILED if changed else None
    put_off = _settle(
        session,
        mail.claim,
        DeliveryState.DEFERRED,
        _BEFORE_RESULT,
        due_at=again,
        reason=POLICY,
        reply=reply,
    )
    if put_off:
        return DeliveryState.DEFERRED
    # It became uncertain meanwhile, see `deferred`; an operator can retry it, as it can a failed
    # one, and nobody is marked failed.
    changed = _settle(
        session, mail.claim, DeliveryState.UNCERTAIN, _UNCERTAIN, settled_at=now, reply=reply
    )
    return DeliveryState.UNCERTAIN if changed else None


def was_accepted(session: Session, digest_id: int) -> bool:
    """Whether a mail of the digest was accepted, by the rows."""
    is_accepted = exists().where(
        Delivery.digest_id == digest_id, Delivery.state == DeliveryState.ACCEPTED
    )
    return bool(session.scalar(select(is_accepted)))


def _again(mail: Mail, retries: Retries, chance: float, now: datetime) -> datetime | None:
    since = mail.retried_at or mail.created_at
    return retries.next(mail.attempts, since=since, now=now, chance=chance)


def uncertain(session: Session, claim: Claim, *, now: datetime) -> bool:
    """The line broke after the dot: never sent again without an operator's word."""
    return _settle(session, claim, DeliveryState.UNCERTAIN, _ARMED, settled_at=now)


def doubtful(session: Session, claim: Claim, *, reason: str, now: datetime) -> bool:
    """A mail that may have been taken once, and would not be the same one now: uncertain as it was.

    reason: one word. False when the claim was lost.
    """
    return _settle(session, claim, DeliveryState.UNCERTAIN, _CLAIMED, settled_at=now, reason=reason)


_CLAIMED = (DeliveryState.CLAIMED,)
_ARMED = (DeliveryState.ARMED,)
_UNCERTAIN = (DeliveryState.UNCERTAIN,)
_BEFORE_RESULT = (*_CLAIMED, *_ARMED)
_AFTER_ARM = (*_ARMED, *_UNCERTAIN)
_HELD = (*_CLAIMED, *_AFTER_ARM)


@cache
def _arming(letter: LetterName) -> Prepared:
    return Prepared(
        update(Delivery)
        .where(
            Delivery.id == bindparam("row"),
            Delivery.epoch == bindparam("row_epoch"),
            Delivery.state == DeliveryState.CLAIMED,
            may_go(letter),
        )
        .values(
            state=DeliveryState.ARMED,
            content_sha256=bindparam("sha256"),
        ),
        "row",
        "row_epoch",
        "mailbox_hash",
        "sha256",
    )


@cache
def _why_not_query(letter: LetterName) -> Select[Any]:
    return select(why_not(letter)).where(
        Delivery.id == bindparam("row"),
        Delivery.epoch == bindparam("row_epoch"),
        Delivery.state == DeliveryState.CLAIMED,
    )


def _settle(
    session: Session,
    claim: Claim,
    state: DeliveryState,
    allowed: tuple[DeliveryState, ...],
    *,
    settled_at: datetime | None = None,
    due_at: datetime | None = None,
    reason: str | None = None,
    reply: Reply | None = None,
) -> bool:
    """Change the state of a row that is in one of `allowed` and still of this claim."""
    values: dict[str, Any] = {
        "row": claim.id,
        "row_epoch": claim.epoch,
        "at": settled_at,
        "why": reason,
    }
    if state is DeliveryState.DEFERRED:
        values["due"] = due_at
    if state is not DeliveryState.SKIPPED:
        values |= {"code": reply.code if reply else None, "said": _storable(reply)}
    statement = _settle_statement(state, allowed)
    return session.connection().execute(statement, values).rowcount == 1


@cache
def _accepting() -> Prepared:
    statement = _settle_statement(DeliveryState.ACCEPTED, _AFTER_ARM)
    return Prepared(statement, "row", "row_epoch", "code", "said")


@cache
def _settle_statement(state: DeliveryState, allowed: tuple[DeliveryState, ...]) -> Update:
    values: dict[str, Any] = {
        "state": state,
        "settled_at": bindparam("at"),
        "reason": bindparam("why"),
        "owner": None,
    }
    if state in (DeliveryState.FAILED, DeliveryState.SKIPPED):
        values["state"] = or_uncertain(state)
    if state is DeliveryState.DEFERRED:
        values["due_at"] = bindparam("due")
        # What may have arrived is not forgotten.
        values["reason"] = case((in_doubt(), Delivery.reason), else_=bindparam("why", type_=String))
    if state is not DeliveryState.SKIPPED:
        # An uncertain row's attempt was counted when it became so.
        was_counted = Delivery.state == DeliveryState.UNCERTAIN
        values |= {
            "attempts": case((was_counted, Delivery.attempts), else_=Delivery.attempts + 1),
            "reply_code": bindparam("code"),
            # A reply can name the mailbox, so an erased row keeps none.
            "reply_text": case(
                (Delivery.address.is_not(None), bindparam("said", type_=Text)), else_=null()
            ),
        }
    return (
        update(Delivery)
        .where(
            Delivery.id == bindparam("row"),
            Delivery.epoch == bindparam("row_epoch"),
            or_(*(Delivery.state == each for each in allowed)),
        )
        .values(**values)
    )


def _storable(reply: Reply | None) -> str | None:
    """The reply's text: PostgreSQL takes no NUL, and no database a half of a surrogate pair."""
    if reply is None:
        return None
    return reply.text.replace("\0", "").encode("utf-8", "replace").decode()[:_MAX_REPLY]
