"""From claimed rows to mails: every mail as the bytes that will be handed over.

The same row gives the same bytes on each try: its date is the row's, its links are signed as of
that date, its Message-ID comes from its public id. Receivers that know a mail by these can tell a
second copy, and the SHA-256 in the record is that of every copy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from newsletter.addresses import Address, of_key
from newsletter.addresses import parse as parse_address
from newsletter.errors import BadInput
from newsletter.mail.message import wire_address
from newsletter.sending import personal
from newsletter.sending.claim import Claim
from newsletter.sending.edition import Edition, Reader, Sender
from newsletter.sending.memory import keep_freed_memory
from newsletter.sending.origin import Origin
from newsletter.sending.personal import OwnLetter
from newsletter.store import (
    Delivery,
    DeliveryState,
    Digest,
    LetterName,
    Publication,
    Subscriber,
    Subscription,
    SubscriptionState,
)
from newsletter.store.doubt import POLICY, RETRY_BY_ITSELF, RETRY_CHANGED, RETRY_UNCERTAIN

__all__ = [
    "CHANGED",
    "RETRY_CHANGED",
    "RETRY_UNCERTAIN",
    "UNWRITABLE",
    "Mail",
    "Origin",
    "Unwritable",
    "Writer",
    "changed",
    "mails",
    "same_as_recorded",
]

# Why a row failed that no mail can be made of.
UNWRITABLE = "unwritable"
CHANGED = "changed"

# What a row's mail is made from, or why it cannot be.
_Source = Edition | OwnLetter | Exception

# Digests whose skeletons are kept: more are seldom sent at the same time.
_EDITIONS = 8


class _Row(NamedTuple):
    """A claimed delivery, and of whom it is about what a digest says."""

    id: int
    epoch: int
    letter: str
    digest_id: int | None
    address: str | None
    public_id: str
    message_id: str | None
    attempts: int
    created_at: datetime
    retried_at: datetime | None
    reason: str | None
    content_sha256: bytes | None
    subscriber: str | None
    address_key: str | None
    name: str | None
    subscription: str | None
    subscription_state: str | None


# Columns in the order of _Row and of Sender: plain ones, since a digest's rows are many.
_CLAIMED = (
    select(
        Delivery.id,
        Delivery.epoch,
        Delivery.letter,
        Delivery.digest_id,
        Delivery.address,
        Delivery.public_id,
        Delivery.message_id,
        Delivery.attempts,
        Delivery.created_at,
        Delivery.retried_at,
        Delivery.reason,
        Delivery.content_sha256,
        Subscriber.public_id,
        Subscriber.address_key,
        Subscriber.name,
        Subscription.public_id,
        Subscription.state,
    )
    .outerjoin(Subscriber, Subscriber.id == Delivery.subscriber_id)
    .outerjoin(Subscription, Subscription.id == Delivery.subscription_id)
    .where(Delivery.state == DeliveryState.CLAIMED)
)
_ROWS = _CLAIMED.where(Delivery.id.in_(bindparam("ids", expanding=True)))
# Most of a batch's rows are neighbours; a statement with two parameters is read more quickly than
# one with hundreds, even where it brings a few rows of others along.
_NEIGHBOURS = _CLAIMED.where(Delivery.id.between(bindparam("first"), bindparam("last")))
_NEAR = 2  # so many rows there may be between, for each one that is wanted
_SENDERS = (
    select(
        Digest.id,
        Digest.public_id,
        Publication.slug,
        Publication.title,
        Publication.from_name,
        Publication.from_address,
        Publication.reply_to,
        Publication.unsubscribe_mailto,
        Publication.language,
    )
    .join(Publication, Publication.id == Digest.publication_id)
    .where(Digest.id.in_(bindparam("ids", expanding=True)))
)


@dataclass(slots=True, eq=False, kw_only=True)
class Mail:
    """One mail, ready to be signed and offered, and what its row needs at the last look.

    sender, recipient: for the envelope; their domains in A-labels. domain: the recipient's, lower
    case. smtputf8: the relay must know SMTPUTF8 (RFC 6531 §3.4), for an address that is not ASCII.
    raw: without signatures as it is written; whoever signs puts the signed bytes in its place.
    mailbox_hash: 32 bytes, for the suppressions. attempts, created_at, retried_at: the row's, for
    pacing. doubt: an earlier try may have arrived. recorded: the SHA-256 that these bytes must
    have because of that, None when any will do (see `same_as_recorded`). met_policy: an earlier try
    was refused for policy.
    """

    claim: Claim
    letter: LetterName
    digest_id: int | None
    sender: str
    recipient: str
    domain: str
    smtputf8: bool
    raw: bytes
    mailbox_hash: bytes
    attempts: int
    created_at: datetime
    retried_at: datetime | None
    doubt: bool
    recorded: bytes | None
    met_policy: bool = False

    _hashed: tuple[bytes, bytes] | None = field(default=None, init=False, repr=False)

    @property
    def sha256(self) -> bytes:
        """The hash of the mail's bytes as they are now, for the record."""
        if self._hashed is None or self._hashed[0] is not self.raw:
            self._hashed = (self.raw, hashlib.sha256(self.raw).digest())
        return self._hashed[1]


@dataclass(frozen=True)
class Unwritable:
    """A row that no mail can be made of, the error that says why, and one word for the row.

    error: a NewsletterError, or any other: then the fault is in the making.
    """

    claim: Claim
    error: Exception
    reason: str = UNWRITABLE


@dataclass(frozen=True, slots=True)
class Draft:
    """A row that was claimed, and all that its mail is made from."""

    claim: Claim
    row: _Row
    source: _Source

    @property
    def letter(self) -> str:
        """The letter's name."""
        return self.row.letter

    @property
    def domain(self) -> str:
        """The recipient's, in ASCII and lower case; empty when it is not known here."""
        return (self.row.address_key or "").rpartition("@")[2]

    @property
    def looks_open(self) -> bool:
        """Whether its reader is subscribed, as the table says; the last look says more."""
        return self.row.subscription_state == SubscriptionState.CONFIRMED


def same_as_recorded(mail: Mail) -> bool:
    """Whether a mail, signed, may go out although an earlier try of it may have arrived.

    True for all that were never in doubt. A mail in doubt must be, byte for byte, the one that
    was handed over, so that a receiver who has it knows the second copy; unless the operator said
    that a changed one will do.
    """
    return mail.recorded is None or mail.sha256 == mail.recorded


def changed(mail: Mail) -> Unwritable:
    """What becomes of a mail in doubt that could not be made again as it was."""
    text = "The mail would differ from the one that may have arrived already."
    return Unwritable(mail.claim, BadInput(text), CHANGED)


class Writer:
    """Writes the mails of one installation; keep it, since it remembers digests.

    For one thread.
    """

    def __init__(self, origin: Origin) -> None:
        keep_freed_memory()
        self._origin = origin
        self._editions: dict[int, Edition] = {}
        self._older: list[Writer] | None = None

    def mails(
        self, session: Session, claims: Iterable[Claim]
    ) -> tuple[list[Mail], list[Unwritable]]:
        """The mails of the rows that are still claimed, in the order of `claims`; unsigned.

        One row that cannot be written does not keep the others back. Rows that were skipped or
        lost since they were claimed are left out.
        """
        found = [self.write(draft) for draft in self.drafts(session, claims)]
        return (
            [each for each in found if isinstance(each, Mail)],
            [each for each in found if isinstance(each, Unwritable)],
        )

    def drafts(self, session: Session, claims: Iterable[Claim]) -> list[Draft]:
        """What the mails of `claims` are made from, in their order; see `mails`.

        They are small, and written one by one when their turn comes.
        """
        wanted = {claim.id: claim for claim in claims}
        if not wanted:
            return []
        first, last = min(wanted), max(wanted)
        connection = session.connection()
        if last - first < _NEAR * len(wanted):
            found = connection.execute(_NEIGHBOURS, {"first": first, "last": last})
        else:
            found = connection.execute(_ROWS, {"ids": list(wanted)})
        rows = [row for row in map(_Row._make, found) if row[:2] == wanted.get(row.id)]
        sources = self._sources(session, rows)
        drafts = {
            row.id: Draft(wanted[row.id], row, source)
            for row, source in zip(rows, sources, strict=True)
        }
        return [drafts[number] for number in wanted if number in drafts]

    def write(self, draft: Draft) -> Mail | Unwritable:
        """The mail of a draft, unsigned; or why there can be none, whatever goes wrong over it.

        A row that stopped the worker would stop every one that comes after it, and so all mail.
        Raises MemoryError, which says nothing about the row.
        """
        try:
            return self._mail(draft.row, draft.claim, draft.source)
        except MemoryError:
            raise
        except Exception as error:  # told in the log with the row
            return Unwritable(draft.claim, error)

    def again_with_older_keys(self, session: Session, mail: Mail) -> list[Mail]:
        """`mail` with its links signed by each older secret key, the newest of these first.

        Unsigned, as from `mails`; for a mail that is not `same_as_recorded`.
        """
        if self._older is None:
            links = self._origin.links
            self._older = [
                Writer(replace(self._origin, links=replace(links, keys=links.keys[:count])))
                for count in range(len(links.keys) - 1, 0, -1)
            ]
        return [made for older in self._older for made in older.mails(session, [mail.claim])[0]]

    def _sources(self, session: Session, rows: Sequence[_Row]) -> list[_Source]:
        """What each row's mail is made from."""
        own = [row.id for row in rows if row.letter != LetterName.DIGEST]
        letters = personal.letters(session, own, self._origin) if own else {}
        digests = {row.digest_id for row in rows if row.digest_id is not None}
        editions = self._find_editions(session, digests) if digests else {}
        missing = BadInput("The digest has no approved content.", "digest")
        return [letters.get(row.id) or editions.get(row.digest_id or 0) or missing for row in rows]

    def _find_editions(
        self, session: Session, numbers: set[int]
    ) -> Mapping[int, Edition | Exception]:
        """The editions of these digests, as their publications are now."""
        found: dict[int, Edition | Exception] = {}
        connection = session.connection()
        for number, *shown in connection.execute(_SENDERS, {"ids": list(numbers)}):
            sender = Sender._make(shown)
            edition = self._editions.get(number)
            if edition is None or edition.sender != sender:
                frozen = connection.scalar(select(Digest.frozen).where(Digest.id == number))
                if not frozen:
                    continue
                try:
                    edition = Edition(frozen, sender, self._origin)
                except MemoryError:
                    raise
                except Exception as error:  # as in `write`
                    found[number] = error
                    continue
                self._editions.pop(number, None)
                self._editions[number] = edition
                if len(self._editions) > _EDITIONS:
                    del self._editions[next(iter(self._editions))]
            found[number] = edition
        return found

    def _mail(self, row: _Row, claim: Claim, source: _Source) -> Mail:
        if isinstance(source, Exception):
            raise source.with_traceback(None)
        if row.address is None:
            raise BadInput("The delivery has no address.", "address")
        to, address = _destination(row.address, row.address_key)
        in_doubt = row.reason in (RETRY_UNCERTAIN, RETRY_BY_ITSELF)
        return Mail(
            claim=claim,
            letter=LetterName(row.letter),
            digest_id=row.digest_id,
            sender=source.envelope_sender,
            recipient=to,
            domain=address.domain,
            smtputf8=source.smtputf8 or not to.isascii(),
            raw=source.raw(_reader(row, to)) if isinstance(source, Edition) else source.raw(),
            mailbox_hash=address.mailbox_hash(self._origin.hash_key),
            attempts=row.attempts,
            created_at=row.created_at,
            retried_at=row.retried_at,
            doubt=in_doubt or row.reason == RETRY_CHANGED,
            recorded=row.content_sha256 if in_doubt else None,
            met_policy=row.reason == POLICY,
        )


def mails(
    session: Session, claims: Iterable[Claim], origin: Origin
) -> tuple[list[Mail], list[Unwritable]]:
    """As Writer.mails, by a Writer that is used once."""
    return Writer(origin).mails(session, claims)


def _reader(row: _Row, to: str) -> Reader:
    return Reader(
        name=row.name,
        address=row.address or "",
        to=to,
        delivery=row.public_id,
        message_id=row.message_id or "",
        created_at=row.created_at,
        unsubscribe=row.subscription or row.public_id,
        preferences=row.subscriber or row.public_id,
    )


def _destination(address: str, key: str | None) -> tuple[str, Address]:
    """How an address is spelled on the wire, and its forms that are no spelling.

    key: what parsing it gave when it was kept, if that is known. Raises BadInput when it is none.
    """
    if key is not None and address.isascii() and address.lower() == key:
        at = key.rindex("@")
        return address[:at] + key[at:], of_key(key)
    return wire_address(address), parse_address(address)
