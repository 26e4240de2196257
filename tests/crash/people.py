"""People who get in the sender's way: readers who leave or are erased, operators who pause."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from crash import rows
from crash.checker import Left
from crash.world import HASH_KEY, World
from sqlalchemy import select
from sqlalchemy.orm import Session

from newsletter import consent, store
from newsletter.sending import control
from newsletter.subscriptions import erase, leave


class Operators:
    """Between two lives, somebody may do something; the same seed does the same.

    stays: whether their connection stays open; where processes are forked, none may.
    """

    def __init__(self, world: World, seed: int, *, stays: bool = False) -> None:
        self._world = world
        self._lot = random.Random(seed)
        self._stays = stays
        self._engine = store.connect(world.url)

    def act(self) -> None:
        """Do something, sometimes."""
        chance = self._lot.random()
        if chance < 0.01:
            self.leave()
        elif chance < 0.015:
            self.erase()
        elif chance < 0.05:
            self.pause()
        else:
            self.resume()

    def leave(self) -> None:
        """A reader leaves by the link of a mail."""
        self._end(is_erasure=False)

    def erase(self) -> None:
        """A reader is forgotten."""
        self._end(is_erasure=True)

    def _end(self, *, is_erasure: bool) -> None:
        is_sqlite = self._engine.dialect.name == "sqlite"
        with self._transaction() as session:
            readers = session.scalars(select(store.Subscription).order_by("id")).all()
            reader = self._lot.choice(readers)
            mails = select(store.Delivery.id).where(store.Delivery.subscription_id == reader.id)
            ids = list(session.scalars(mails))
            if is_sqlite:
                self._note(session, ids)
            by = consent.Evidence(actor="subscriber", channel="link")
            now = datetime.now(UTC)
            if is_erasure:
                erase.forget(session, reader.subscriber, by, hash_key=HASH_KEY, now=now)
            else:
                leave.by_reader(session, reader.public_id, by, hash_key=HASH_KEY, now=now)
        if not is_sqlite:
            # There, a row may be armed beside us by a statement that began before our commit; it
            # is locked then, and left out. All others are looked at after it.
            with self._transaction() as session:
                self._note(session, ids)

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        with store.transaction(self._engine) as session:
            yield session
        if not self._stays:
            self._engine.dispose()

    def _note(self, session: Session, ids: list[int]) -> None:
        found = session.execute(
            select(store.Delivery.id, store.Delivery.state)
            .where(store.Delivery.id.in_(ids))
            .with_for_update(skip_locked=True)
        )
        self._world.left += [Left(row.id, row.state) for row in found]

    def pause(self) -> bool:
        """An operator stops a digest; whether there was one to stop."""
        return self._move(store.DigestState.SENDING, control.pause)

    def resume(self) -> bool:
        """What was paused goes on, whoever paused it."""
        return self._move(store.DigestState.PAUSED, control.resume)

    def _move(
        self, state: store.DigestState, change: Callable[[Session, store.Digest], None]
    ) -> bool:
        query = f"SELECT 1 FROM digest WHERE state = '{state}' LIMIT 1"
        with rows.opened(self._world.url) as connection:
            if connection.execute(query).fetchone() is None:
                return False
        with self._transaction() as session:
            found = session.scalars(select(store.Digest).where(store.Digest.state == state)).all()
            for digest in found[:1]:
                change(session, digest)
        return bool(found)

    def go_home(self) -> None:
        """Nothing stays paused, and nobody connected."""
        with self._transaction() as session:
            for digest in session.scalars(
                select(store.Digest).where(store.Digest.state == store.DigestState.PAUSED)
            ):
                control.resume(session, digest)
        self._engine.dispose()
