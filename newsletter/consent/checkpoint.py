"""Signing what the log is, and holding the log in the database against what was signed.

The last checkpoint is also kept outside of the database. A log that is shorter than it, or another
one, is never signed, and sign-up and sending stand still: a backup was put back, or rows were
changed. Leaving, unsubscribing and erasing never ask here.
"""

from __future__ import annotations

import hmac
import json
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from newsletter.consent import merkle, tree
from newsletter.consent.checkpoint_format import Checkpoint
from newsletter.consent.event import EventType
from newsletter.consent.keyring import Keyring
from newsletter.consent.note import open_note
from newsletter.errors import BadNote, ConsentLogError, LogFault, SchemaError
from newsletter.store import ConsentCheckpoint, ConsentEvent, Installation

_PIECE = 1000
_CURE = (
    "Put the newer database back; or, if there is none, run: newsletter recover. "
    "Until then nobody can sign up and nothing is sent."
)


def sign(session: Session, keyring: Keyring, *, now: datetime) -> str | None:
    """Sign the log as it is, keep the note outside of the database and beside the events.

    The session must be one that appended nothing: only committed events are signed for. The newest
    note comes back as it is when the log has not grown; None for an empty log.

    Raises LogFault when the log is not the one that the last checkpoint was signed for, ConfigError
    when there is no key.
    """
    if tree.appends(session):
        raise RuntimeError("a checkpoint is signed over committed events only")
    installation = _installation(session, lock=True)
    _check_halt(installation)
    kept = _kept(session, keyring, installation, keyring.last_checkpoint())
    log, size = installation.log_number, installation.log_size
    if not size:
        return None
    if kept and kept.size < size:
        _put_back(session, keyring, kept, log=log, now=now)
    before = _row(session, log)
    stored = _opened(keyring, log, before)
    if before and kept == stored and before.size == size and _is_todays(keyring, before):
        return before.note
    since = max((each for each in (kept, stored) if each), key=_size, default=None)
    root = _grown_root(session, installation, since)
    note = keyring.signer.sign(Checkpoint(keyring.origin(log), size, root).text)
    # Outside first: what is signed is known there, whatever becomes of this transaction.
    keyring.keep_checkpoint(note)
    if before and before.size == size:
        before.note = note
        before.signed_at = now
    else:
        _add(session, log, size, note, now)
    session.flush()
    return note


def put_back(session: Session, keyring: Keyring, *, now: datetime) -> bool:
    """Whether the kept checkpoint was missing beside the events, and is there again.

    A crash between the file and the commit leaves it so, or somebody's hand. Raises LogFault when
    it was signed for another log.
    """
    installation = _installation(session, lock=True)
    kept = _kept(session, keyring, installation, keyring.last_checkpoint())
    return kept is not None and _put_back(
        session, keyring, kept, log=installation.log_number, now=now
    )


def newest(session: Session) -> str | None:
    """The newest signed note of today's log; None when none was signed."""
    row = _row(session, _installation(session).log_number)
    return row.note if row else None


def guard(session: Session, keyring: Keyring) -> None:
    """Go on, or not: sign-up and sending ask this first. A few reads, however long the log is.

    Raises LogFault, with the cure, when the log is halted, or is not the one that the checkpoint
    kept outside of the database was signed for.
    """
    compare(session, keyring)
    _check_halt(_installation(session))


def compare(session: Session, keyring: Keyring) -> None:
    """Hold the log against the checkpoint that is kept outside of the database, and nothing else.

    For a session that has read nothing yet: what it sees must not be older than the checkpoint.

    Raises LogFault, with the cure, when the log is not the one that was signed for.
    """
    # Before the database: in between, another process may append and sign, and what is signed must
    # not look newer than what was read.
    note = keyring.last_checkpoint()
    _kept(session, keyring, _installation(session), note)


def halt(session: Session, fault: str) -> None:
    """Stop sign-up and sending until the log is mended; an earlier fault stays the one told."""
    _set_fault(session, fault)


def go_on(session: Session) -> None:
    """End a halt: after a full verification found nothing, or a recovery."""
    session.execute(
        update(Installation).values(log_fault=None).execution_options(synchronize_session="fetch")
    )


def _set_fault(session: Session, fault: str) -> None:
    session.execute(
        update(Installation)
        .where(Installation.log_fault.is_(None))
        .values(log_fault=fault)
        .execution_options(synchronize_session="fetch")
    )


def _check_halt(installation: Installation) -> None:
    if installation.log_fault is not None:
        raise LogFault(
            f"The consent log has a fault: {installation.log_fault.rstrip('.')}. Sign-up and "
            "sending stand still until this finds none: newsletter consent verify --full"
        )


def _kept(
    session: Session, keyring: Keyring, installation: Installation, note: str | None
) -> Checkpoint | None:
    """The checkpoint kept outside, held against the log; None when there is none of this log."""
    if note is None:
        return None
    try:
        kept = Checkpoint.parse(open_note(note, keyring.verifiers))
    except BadNote as error:
        raise LogFault(
            f"The last checkpoint in {keyring.folder} is not one of this log: {error}. "
            "Put that folder back from its backup."
        ) from error
    today = _origin(keyring, installation.log_number)
    if kept.origin != today:
        _check_recovery(session, keyring, installation, kept)
        return None
    if installation.log_size < kept.size:
        raise LogFault(
            f"The consent log has {installation.log_size} events in the database, but {kept.size} "
            f"were signed for: the database is older than the last checkpoint. {_CURE}"
        )
    if kept.size and not _has_root(session, kept):
        raise LogFault(
            f"The first {kept.size} events of the consent log are not those that were signed for: "
            f"rows were changed, or the database is another one. {_CURE}"
        )
    return kept


def _origin(keyring: Keyring, log: int) -> str:
    # By the public keys: they are there also where the private one is not.
    name = keyring.verifiers[-1].name
    return name if log == 1 else f"{name}/{log}"


def _has_root(session: Session, kept: Checkpoint) -> bool:
    try:
        return hmac.compare_digest(tree.root(session, kept.size), kept.root)
    except ConsentLogError:
        return False


def _check_recovery(
    session: Session, keyring: Keyring, installation: Installation, kept: Checkpoint
) -> None:
    """A checkpoint of an earlier log is fine once the recovery that ended that log names it."""
    body = session.scalar(
        select(ConsentEvent.body).where(ConsentEvent.position == installation.recovery_position)
    )
    try:
        fields = json.loads(body or b"")
        named = Checkpoint.parse(open_note(fields["kept"], keyring.verifiers))
        is_recovery = fields["type"] == EventType.RECOVERED
    except (BadNote, ValueError, KeyError, TypeError, AttributeError):
        is_recovery = False
    if is_recovery and named.origin == kept.origin and named.size >= kept.size:
        return
    raise LogFault(
        f"The last checkpoint was signed for the log {kept.origin}, the database has another one. "
        f"{_CURE}"
    )


def _grown_root(session: Session, installation: Installation, since: Checkpoint | None) -> bytes:
    """The root of the log as it is, computed anew from a signed checkpoint and the events since.

    So what is signed extends what was signed, and has the events as its leaves, whatever the stored
    hashes say; these must agree.
    """
    log, size = installation.log_number, installation.log_size
    if since and since.size > size:
        raise LogFault(f"{since.size} events were signed for, the log has {size}. {_CURE}")
    read = tree.reader(session, log)
    try:
        frontier = merkle.Frontier.of(since.size, read) if since else merkle.Frontier()
        if since and not hmac.compare_digest(frontier.root(), since.root):
            raise ConsentLogError(f"the first {since.size} events are not those signed for")
        _add_events(session, installation, frontier)
        stored = merkle.stored_root(size, read)
    except ConsentLogError as error:
        raise LogFault(f"The tree of the consent log is damaged: {error}. {_CURE}") from error
    if not hmac.compare_digest(frontier.root(), stored):
        raise LogFault(f"The tree of the consent log does not fit its events. {_CURE}")
    return stored


def _add_events(session: Session, installation: Installation, frontier: merkle.Frontier) -> None:
    size, recovery = installation.log_size, installation.recovery_position
    while frontier.size < size:
        leaves = range(frontier.size, min(frontier.size + _PIECE, size))
        positions = [tree.position_of(leaf, recovery) for leaf in leaves]
        found = session.execute(
            select(ConsentEvent.position, ConsentEvent.commitment).where(
                ConsentEvent.position.in_(positions)
            )
        )
        commitments = {row.position: row.commitment for row in found}
        for position in positions:
            if not isinstance(commitments.get(position), bytes):
                raise ConsentLogError(f"position {position}: the event is missing")
            frontier.add(tree.leaf_hash(commitments[position]))


def _opened(keyring: Keyring, log: int, row: ConsentCheckpoint | None) -> Checkpoint | None:
    """What a stored checkpoint says; raises LogFault when it is not one of this log."""
    if row is None:
        return None
    try:
        found = Checkpoint.parse(open_note(row.note, keyring.verifiers))
        if (found.origin, found.size) != (_origin(keyring, log), row.size):
            raise BadNote("it belongs elsewhere")
    except BadNote as error:
        raise LogFault(
            f"The checkpoint over {row.size} events in the database is not ours: {error}. {_CURE}"
        ) from error
    return found


def _is_todays(keyring: Keyring, row: ConsentCheckpoint) -> bool:
    """Whether the note is signed with today's key, not one from before a rotation."""
    try:
        open_note(row.note, [keyring.signer.verifier])
    except BadNote:
        return False
    return True


def _size(each: Checkpoint) -> int:
    return each.size


def _row(session: Session, log: int) -> ConsentCheckpoint | None:
    query = (
        select(ConsentCheckpoint)
        .where(ConsentCheckpoint.log == log)
        .order_by(ConsentCheckpoint.size.desc())
        .limit(1)
    )
    return session.scalars(query).one_or_none()


def _installation(session: Session, *, lock: bool = False) -> Installation:
    query = select(Installation).execution_options(populate_existing=True)
    found = session.scalars(query.with_for_update() if lock else query).one_or_none()
    if found is None:
        raise SchemaError("The database has no installation in it: newsletter migrate")
    return found


def _put_back(
    session: Session, keyring: Keyring, kept: Checkpoint, *, log: int, now: datetime
) -> bool:
    newest = _row(session, log)
    note = keyring.last_checkpoint()
    if note is None or (newest is not None and newest.size >= kept.size):
        return False
    _add(session, log, kept.size, note, now)
    return True


def _add(session: Session, log: int, size: int, note: str, now: datetime) -> None:
    """Checkpoints are numbered without a gap, so that one that is taken away is missed."""
    newest = session.scalar(select(func.max(ConsentCheckpoint.id))) or 0
    row = ConsentCheckpoint(id=newest + 1, log=log, size=size, note=note, signed_at=now)
    session.add(row)
    session.flush()
