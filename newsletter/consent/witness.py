"""A digest in somebody's mailbox as a witness: does today's log still hold what it held then?

Every digest carries the log's newest signed checkpoint. Whoever has such a mail can prove, from
what the service publishes and nothing else, that the log of today begins with the log of that day:
nothing was changed, taken out or moved. Who cannot prove it holds evidence against the service,
since the mail's checkpoint bears its signature.

After a recovery from an older backup a new log begins. It starts with the recovery's own event and
goes on with every event that survived, so an older mail is still proven by it, unless events that
the mail had seen were lost.
"""

from __future__ import annotations

import base64
import binascii
import email
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email import policy

from newsletter.consent import merkle, tiles
from newsletter.consent.checkpoint_format import Checkpoint
from newsletter.consent.note import Verifier, open_note
from newsletter.errors import BadInput, BadNote, ConsentLogError, InvalidProof
from newsletter.mail.message import CHECKPOINT_HEADER

# What lies at a path below /.well-known/consent-log/, such as "key" or "tile/0/000.p/17".
Get = Callable[[str], bytes]

_ORIGIN = re.compile(r"(.+/consent-log)(?:/([1-9]\d{0,8}))?")


@dataclass(frozen=True)
class Witnessed:
    """What was proven: `today` holds all that `then`, the mail's checkpoint, bears witness to."""

    then: Checkpoint
    today: Checkpoint


def note_in(mail: bytes) -> str:
    """The signed checkpoint that a mail carries, also one that lies in another mail as a whole.

    Raises BadInput when there is none, ConsentLogError when it was damaged.
    """
    message = email.message_from_bytes(mail, policy=policy.compat32)
    found = {
        "".join(str(value).split())
        for part in message.walk()
        for value in part.get_all(CHECKPOINT_HEADER, [])
    }
    if not found:
        raise BadInput(
            f"The mail has no header {CHECKPOINT_HEADER}: it is no digest, or one from before the "
            "log was signed. Save the whole mail, with all its headers (often called “original”)."
        )
    if len(found) > 1:
        raise BadInput("There are several digests in this mail. Save one of them on its own.")
    try:
        return base64.b64decode(found.pop(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ConsentLogError("The checkpoint in the mail was damaged on its way.") from error


def service_of(note: str) -> str:
    """The https address of the service whose checkpoint this says it is; nothing is proven yet.

    Raises ConsentLogError when it is no checkpoint of a consent log.
    """
    text = note.partition("\n\n")[0] + "\n"
    try:
        origin, _number = _log_of(Checkpoint.parse(text))
    except BadNote as error:
        raise ConsentLogError(f"The mail's checkpoint cannot be read: {error}") from error
    return f"https://{origin.removesuffix('/consent-log')}"


def check(note: str, get: Get) -> Witnessed:
    """Prove that the log which the service publishes today extends the one in `note`.

    note: the signed checkpoint of a mail. get: reads what the service publishes; what it raises is
        passed on.

    Raises ConsentLogError that says what does not hold.
    """
    keys = _keys(get("key"))
    then = _opened(note, keys, "the mail's checkpoint")
    today = _opened(_text(get("checkpoint")), keys, "today's checkpoint")
    (origin, old_log), (origin_today, new_log) = _log_of(then), _log_of(today)
    if origin != origin_today:
        raise ConsentLogError(f"The mail is of the log {origin}, this service has {origin_today}.")
    if then.size < 1:
        raise ConsentLogError("The mail's checkpoint is of an empty log.")
    if old_log > new_log:
        raise ConsentLogError(
            f"The mail is of log {old_log}, the service publishes log {new_log}: an older one."
        )
    read = tiles.reader(today.size, lambda path: get(f"{folder_of(new_log)}tile/{path}"))
    try:
        if old_log == new_log:
            _extends(then, today, read)
        else:
            _survives(then, old_log, today, read, get)
    except InvalidProof as error:
        raise ConsentLogError(
            f"The log of today ({today.size} events) does not extend the one in the mail "
            f"({then.size} events): {error}."
        ) from error
    return Witnessed(then, today)


def folder_of(log: int) -> str:
    """Where a log is published, below /.well-known/consent-log/: the first at its root."""
    return "" if log == 1 else f"{log}/"


def _extends(then: Checkpoint, today: Checkpoint, read: merkle.Read) -> None:
    if then.size > today.size:
        raise InvalidProof("events were taken away")
    proof = merkle.stored_consistency(then.size, today.size, read)
    merkle.verify_consistency(then.size, today.size, proof, then.root, today.root)


def _survives(then: Checkpoint, log: int, today: Checkpoint, read: merkle.Read, get: Get) -> None:
    """The same across a recovery: the tree of then, built anew out of the leaves of today."""
    leaves = [read(0, number) for number in range(today.size)]
    if merkle.root(leaves) != today.root:
        raise InvalidProof("its tiles do not have the root that was signed")
    survivors = leaves[1:]
    if log > 1:
        # That log was begun by a recovery too: its first event stands further back by now.
        tile = tiles.tile_of(then.size, 0, 0)
        first = get(f"{folder_of(log)}tile/{tile.path}")[: merkle.HASH_SIZE]
        if first not in survivors:
            raise InvalidProof("the event that began the mail's log is not in it")
        place = survivors.index(first)
        survivors = [first, *survivors[:place], *survivors[place + 1 :]]
    if merkle.root(survivors[: then.size]) != then.root or len(survivors) < then.size:
        raise InvalidProof("it was begun by a recovery, and events that the mail saw were lost")


def _log_of(checkpoint: Checkpoint) -> tuple[str, int]:
    """The first origin of a consent log, and which log it is by now."""
    found = _ORIGIN.fullmatch(checkpoint.origin)
    if found is None:
        raise ConsentLogError(f"{checkpoint.origin[:200]} is not a consent log.")
    return found[1], int(found[2] or 1)


def _opened(note: str, keys: Iterable[Verifier], what: str) -> Checkpoint:
    try:
        return Checkpoint.parse(open_note(note, keys))
    except BadNote as error:
        raise ConsentLogError(
            f"Not signed with a key that the service publishes is {what}: {error}."
        ) from error


def _keys(published: bytes) -> list[Verifier]:
    try:
        return [Verifier.parse(line) for line in _text(published).splitlines() if line.strip()]
    except BadNote as error:
        raise ConsentLogError(f"The keys that the service publishes: {error}.") from error


def _text(published: bytes) -> str:
    try:
        return published.decode()
    except UnicodeDecodeError as error:
        raise ConsentLogError("What the service publishes is not text.") from error
