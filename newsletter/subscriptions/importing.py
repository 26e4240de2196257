"""Bringing people in from a CSV file, with where their consent came from.

What a file cannot do: bring back somebody who left, was erased, blocked us, complained, or whose
address bounced. Each person who comes in gets an `imported` event with the operator's evidence.
"""

from __future__ import annotations

import csv
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from newsletter import addresses, consent
from newsletter.errors import BadInput
from newsletter.i18n import choose
from newsletter.store import (
    Delivery,
    LetterName,
    Publication,
    Subscriber,
    Subscription,
    SubscriptionState,
    public_id,
)
from newsletter.store.find import suppressions
from newsletter.store.letters import message_id, take_quota

PIECE = 1000
COLUMNS = ("email", "name", "language", "confirmed_at", "ip", "source")
_NAME_LENGTH = 200

Status = Literal["pending", "confirmed"]


@dataclass(frozen=True)
class Row:
    """One good line. The times are UTC; `ip` and `source` are evidence and stay as they came."""

    number: int
    address: addresses.Address
    name: str | None
    language: str | None
    confirmed_at: datetime | None
    ip: str | None
    source: str | None


@dataclass(frozen=True)
class BadRow:
    """A line that was left out, and why."""

    number: int
    reason: str


@dataclass
class Tally:
    """What became of the rows."""

    imported: int = 0
    already: int = 0
    suppressed: int = 0

    def add(self, other: Tally) -> None:
        """Count another piece's rows too."""
        self.imported += other.imported
        self.already += other.already
        self.suppressed += other.suppressed


def read(file: TextIO) -> Iterator[Row | BadRow]:
    """The lines of a CSV file with a header, good and bad, in order.

    file: opened with encoding "utf-8-sig" and newline="". Comma, semicolon or tab between the
        columns; the header says which are there: email, and any of name, language, confirmed_at
        (ISO 8601), ip, source. Other columns are ignored.

    Raises BadInput when there is no header with an email column.
    """
    head = file.readline()
    delimiter = max(",;\t", key=head.count)
    names = [name.strip().lower() for name in next(csv.reader([head], delimiter=delimiter), [])]
    if "email" not in names:
        raise BadInput(
            "The first line must name the columns, one of them email "
            f"(and any of {', '.join(COLUMNS[1:])})."
        )
    reader = csv.reader(file, delimiter=delimiter)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield BadRow(reader.line_num + 1, f"not CSV: {error}")
            continue
        if any(cell.strip() for cell in cells):
            number = reader.line_num + 1  # the header is line 1
            yield _row(number, dict(zip(names, (cell.strip() for cell in cells), strict=False)))


def _row(number: int, cells: dict[str, str]) -> Row | BadRow:
    try:
        address = addresses.parse(cells.get("email", ""))
        confirmed_at = _moment(cells.get("confirmed_at", ""))
    except BadInput as error:
        return BadRow(number, str(error))
    name = "".join(c if c.isprintable() else " " for c in cells.get("name", "")).strip()
    if len(name) > _NAME_LENGTH:
        return BadRow(number, f"The name is longer than {_NAME_LENGTH} characters.")
    return Row(
        number=number,
        address=address,
        name=name or None,
        language=cells.get("language") or None,
        confirmed_at=confirmed_at,
        ip=cells.get("ip") or None,
        source=cells.get("source") or None,
    )


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadInput(f"confirmed_at is not an ISO 8601 time: {text!r}") from error
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def take(
    session: Session,
    publication: Publication,
    rows: Sequence[Row],
    *,
    status: Status,
    source: str,
    hash_key: bytes,
    now: datetime,
    send_confirmation: bool = False,
) -> Tally:
    """Bring in one piece of at most PIECE rows, in the session's transaction.

    status: what the people's subscriptions become.
    source: the operator's word for where the consent came from; goes into every event.
    send_confirmation: with status "pending", a confirmation mail each, within the quota.
    """
    tally = Tally()
    hashes = {row.number: row.address.mailbox_hash(hash_key) for row in rows}
    barred = suppressions(session, hashes.values())
    fresh: dict[str, Row] = {}
    for row in rows:
        if hashes[row.number] in barred:
            tally.suppressed += 1
        elif row.address.key in fresh:
            tally.already += 1
        else:
            fresh[row.address.key] = row
    known = _known(session, list(fresh))
    subscribed = set(
        session.scalars(
            select(Subscription.subscriber_id).where(
                Subscription.publication_id == publication.id,
                Subscription.subscriber_id.in_([each.id for each in known.values()]),
            )
        )
    )
    for key, subscriber in known.items():
        if subscriber.id in subscribed:
            del fresh[key]
            tally.already += 1
    known |= _make_subscribers(session, publication, fresh, known, now)
    people = [(known[key], row) for key, row in fresh.items()]
    if people:
        made = _subscribe(session, publication, people, status=status, source=source, now=now)
        if send_confirmation and status == "pending":
            _ask(session, publication, people, made=made, hashes=hashes, now=now)
    tally.imported += len(people)
    return tally


def _known(session: Session, keys: list[str]) -> dict[str, Subscriber]:
    found = session.scalars(select(Subscriber).where(Subscriber.address_key.in_(keys)))
    return {each.address_key: each for each in found}


def _make_subscribers(
    session: Session,
    publication: Publication,
    fresh: dict[str, Row],
    known: dict[str, Subscriber],
    now: datetime,
) -> dict[str, Subscriber]:
    values = [
        {
            "public_id": public_id(),
            "address": row.address.spelling,
            "address_key": key,
            "name": row.name,
            "language": choose([row.language or ""], publication.language),
            "key": secrets.token_bytes(32),
            "created_at": now,
        }
        for key, row in fresh.items()
        if key not in known
    ]
    if not values:
        return {}
    session.execute(insert(Subscriber), values)
    return _known(session, [str(value["address_key"]) for value in values])


def _subscribe(
    session: Session,
    publication: Publication,
    people: list[tuple[Subscriber, Row]],
    *,
    status: Status,
    source: str,
    now: datetime,
) -> dict[int, int]:
    """The subscriptions with their events; returns subscriber id -> subscription id."""
    names = [public_id() for _ in people]
    values: list[dict[str, Any]] = [
        {
            "public_id": name,
            "publication_id": publication.id,
            "subscriber_id": subscriber.id,
            "state": SubscriptionState(status),
            "pending_since": now,
            "confirmed_at": (row.confirmed_at or now) if status == "confirmed" else None,
            "created_at": now,
        }
        for name, (subscriber, row) in zip(names, people, strict=True)
    ]
    session.execute(insert(Subscription), values)
    subjects = []
    for name, (subscriber, row) in zip(names, people, strict=True):
        subject = consent.Subject(
            subscriber_id=subscriber.id,
            subscriber=subscriber.public_id,
            key=subscriber.key,
            subscription=name,
            address=subscriber.address,
            publication=publication.slug,
        )
        subjects.append((subject, _evidence(row, status, source)))
    consent.record_many(session, consent.EventType.IMPORTED, subjects, now=now)
    ids = session.execute(
        select(Subscription.subscriber_id, Subscription.id).where(Subscription.public_id.in_(names))
    )
    return {each.subscriber_id: each.id for each in ids}


def _evidence(row: Row, status: Status, source: str) -> consent.Evidence:
    confirmed = row.confirmed_at.isoformat() if row.confirmed_at else None
    return consent.Evidence(
        actor="operator",
        channel="import",
        entered=row.address.spelling,
        language=row.language,
        client_address=row.ip,
        status=status,
        source=f"{source}; {row.source}" if row.source else source,
        note=f"confirmed elsewhere at {confirmed}" if confirmed else None,
    )


def _ask(
    session: Session,
    publication: Publication,
    people: list[tuple[Subscriber, Row]],
    *,
    made: dict[int, int],
    hashes: dict[int, bytes],
    now: datetime,
) -> None:
    letters = []
    for subscriber, row in people:
        if not take_quota(session, hashes[row.number], LetterName.CONFIRMATION, now=now):
            continue
        name = public_id()
        letters.append(
            {
                "public_id": name,
                "letter": LetterName.CONFIRMATION,
                "publication_id": publication.id,
                "subscriber_id": subscriber.id,
                "subscription_id": made[subscriber.id],
                "address": subscriber.address,
                "message_id": message_id(name, publication),
                "due_at": now,
                "created_at": now,
            }
        )
    if letters:
        session.execute(insert(Delivery), letters)
