"""What the consent log tells the world: its keys, its newest checkpoint, the hashes of its tree.

Anybody can hold what a digest in their mailbox bears witness to against it (newsletter consent
check-witness does). The places are C2SP's tlog-tiles, below /.well-known/consent-log/. Hashes only:
no event is published. The first log lies at that place itself; a log that a recovery began lies
below its number (2/checkpoint, 2/tile/...), where also the first can be found (1/checkpoint).
"""

from __future__ import annotations

from flask import Flask, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from newsletter.consent import checkpoint, merkle, tree
from newsletter.consent.tiles import Tile
from newsletter.errors import BadInput, NotFound
from newsletter.store import ConsentCheckpoint
from newsletter.web.site import database, site

_ROOT = "/.well-known/consent-log"
_FIRST_LOG = 1
_YEAR = 365 * 86_400


def add_routes(app: Flask) -> None:
    """Add the routes of this module to `app`."""
    for rule, name, view in (
        ("key", "log_key", key),
        ("checkpoint", "log_checkpoint", newest_checkpoint),
        ("tile/<path:tile>", "log_tile", first_tile),
        ("<int(max=9999):log>/checkpoint", "log_checkpoint_of", checkpoint_of),
        ("<int(max=9999):log>/tile/<path:tile>", "log_tile_of", tile_of),
    ):
        app.add_url_rule(f"{_ROOT}/{rule}", name, view)


def key() -> Response:
    """The public half of each key that signs or signed, as C2SP vkeys, today's first."""
    found = site().keyring.verifiers
    if not found:
        raise NotFound("This log has no key yet.")
    return _text("".join(f"{each.vkey}\n" for each in reversed(found)))


def newest_checkpoint() -> Response:
    """The newest checkpoint of today's log, whose number its origin tells."""
    with database() as session:
        return _note(checkpoint.newest(session))


def checkpoint_of(log: int) -> Response:
    """The newest checkpoint of one log."""
    with database() as session:
        row = _newest(session, log)
    return _note(row.note if row else None)


def first_tile(tile: str) -> Response:
    """A tile of the first log."""
    return tile_of(_FIRST_LOG, tile)


def tile_of(log: int, tile: str) -> Response:
    """A tile of one log; only what a checkpoint covers, since that never changes again."""
    try:
        wanted = Tile.parse(tile)
    except BadInput as error:
        raise NotFound("There is no such tile.") from error
    with database() as session:
        hashes = _hashes(session, log, wanted)
    answer = Response(hashes, mimetype="application/octet-stream")
    answer.headers["Cache-Control"] = f"public, max-age={_YEAR}, immutable"
    return answer


def _hashes(session: Session, log: int, wanted: Tile) -> bytes:
    signed = _newest(session, log)
    if signed is None or not wanted.is_in(signed.size):
        raise NotFound("There is no such tile.")
    stored = tree.tile(session, wanted.level, wanted.number, log=log) or b""
    length = wanted.width * merkle.HASH_SIZE
    if len(stored) < length:
        raise NotFound("There is no such tile.")
    return stored[:length]


def _newest(session: Session, log: int) -> ConsentCheckpoint | None:
    query = select(ConsentCheckpoint).where(ConsentCheckpoint.log == log)
    return session.scalars(query.order_by(ConsentCheckpoint.size.desc()).limit(1)).one_or_none()


def _note(note: str | None) -> Response:
    if note is None:
        raise NotFound("Nothing was signed yet.")
    return _text(note)


def _text(text: str) -> Response:
    # Shown anew each time: the next one may come at any moment.
    answer = Response(text, mimetype="text/plain")
    answer.headers["Cache-Control"] = "no-cache"
    return answer
