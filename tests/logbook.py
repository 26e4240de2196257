"""A consent log with something of everything in it, made through the stories themselves."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from newsletter import addresses, consent, store
from newsletter.consent import checkpoint
from newsletter.store.find import subscriber_by_key
from newsletter.subscriptions import blocks, confirm, erase, importing, leave, preferences, signup

HASH_KEY = b"h" * 32
ORIGIN = "news.example.org/consent-log"


@dataclass
class Logbook:
    """Drives the stories, one transaction a step; `now` moves on with each."""

    engine: Engine
    keyring: consent.Keyring
    now: datetime
    # What happens when a step has done everything, just before and just after its commit.
    before_commit: Callable[[], object] = field(default=lambda: None)
    after_commit: Callable[[], object] = field(default=lambda: None)

    @classmethod
    def begin(cls, engine: Engine, folder: Path, now: datetime) -> Logbook:
        """Two publications, and a signing key in `folder`."""
        keyring = consent.Keyring(folder)
        keyring.create(ORIGIN)
        with store.transaction(engine) as session:
            for slug in ("field-notes", "tide-tables"):
                session.add(publication(slug, now))
        return cls(engine, keyring, now)

    @property
    def size(self) -> int:
        with store.reading(self.engine) as session:
            return session.get_one(store.Installation, 1).log_size

    @contextmanager
    def _open(self) -> Iterator[Session]:
        with store.transaction(self.engine) as session:
            yield session
            session.flush()
            self.before_commit()
        self.after_commit()

    def sign_up(self, name: str, slug: str = "field-notes") -> None:
        self._tick()
        with self._open() as session:
            found = session.scalars(select(store.Publication).filter_by(slug=slug)).one()
            evidence = consent.Evidence(
                actor="subscriber",
                channel="form",
                entered=address(name),
                box_ticked=True,
                wording=consent.wording_of(found, "en"),
                client_address="192.0.2.0",
            )
            form = signup.Signup(addresses.parse(address(name)), name, "en")
            signup.request(session, found, form, evidence, hash_key=HASH_KEY, now=self.now)

    def confirm(self, name: str) -> None:
        self._tick()
        with self._open() as session:
            mail = self._mail_to(session, name)
            confirm.accept(session, mail, _by("link"), hash_key=HASH_KEY, now=self.now)

    def deny(self, name: str) -> None:
        self._tick()
        with self._open() as session:
            mail = self._mail_to(session, name)
            confirm.deny(session, mail, _by("link"), hash_key=HASH_KEY, now=self.now)

    def unblock(self, name: str) -> None:
        self._tick()
        with self._open() as session:
            evidence = consent.Evidence(actor="operator", channel="command", note="asked by letter")
            mailbox = addresses.parse(address(name))
            blocks.lift(session, mailbox, evidence, hash_key=HASH_KEY, now=self.now)

    def rename(self, name: str) -> None:
        self._tick()
        with self._open() as session:
            reader = self._subscriber(session, name)
            view = preferences.look(session, reader.public_id)
            assert view is not None
            keep = frozenset(each.slug for each, subscription in view.rows if subscription)
            wanted = preferences.Change(f"{reader.name or ''}+", "en", keep)
            preferences.change(
                session,
                reader.public_id,
                wanted,
                _by("preferences"),
                hash_key=HASH_KEY,
                now=self.now,
            )

    def leave(self, name: str) -> None:
        self._tick()
        with self._open() as session:
            key = addresses.parse(address(name)).key
            evidence = consent.Evidence(actor="operator", channel="command")
            leave.by_operator(session, key, None, evidence, hash_key=HASH_KEY, now=self.now)

    def bounce(self, name: str) -> None:
        self._tick()
        with self._open() as session:
            evidence = consent.Evidence(actor="relay", channel="bounce")
            for subscription in self._subscriber(session, name).subscriptions:
                leave.by_bounce(session, subscription, evidence, hash_key=HASH_KEY, now=self.now)

    def take_in(self, *names: str, status: Any = "confirmed") -> None:
        self._tick()
        lines = io.StringIO("".join(["email\n", *(f"{address(name)}\n" for name in names)]))
        rows = [
            row for row in importing.read(lines, now=self.now) if isinstance(row, importing.Row)
        ]
        with self._open() as session:
            found = session.scalars(select(store.Publication).filter_by(slug="tide-tables")).one()
            importing.take(
                session,
                found,
                rows,
                status=status,
                source="a list on paper",
                hash_key=HASH_KEY,
                now=self.now,
            )

    def erase(self, name: str) -> None:
        self._tick()
        with self._open() as session:
            reader = self._subscriber(session, name)
            erase.forget(session, reader, _by("preferences"), hash_key=HASH_KEY, now=self.now)

    def sign(self) -> str | None:
        """A checkpoint over what is committed."""
        self._tick()
        with self._open() as session:
            return checkpoint.sign(session, self.keyring, now=self.now)

    def verify(self, *, full: bool = True, **more: Any) -> consent.Report:
        with store.reading(self.engine) as session:
            return consent.verify(session, self.keyring, full=full, **more)

    def _tick(self) -> None:
        self.now += timedelta(minutes=7)

    def _subscriber(self, session: Session, name: str) -> store.Subscriber:
        found = subscriber_by_key(session, addresses.parse(address(name)).key)
        assert found is not None
        return found

    def _mail_to(self, session: Session, name: str) -> str:
        """The public id of the newest confirmation mail; "" when there is none."""
        reader = subscriber_by_key(session, addresses.parse(address(name)).key)
        query = (
            select(store.Delivery.public_id)
            .where(store.Delivery.letter == "confirmation")
            .where(store.Delivery.subscriber_id == (reader.id if reader else None))
            .order_by(store.Delivery.id.desc())
        )
        return session.scalar(query.limit(1)) or ""


def killed(url: str, folder: Path, now: datetime, step: str, words: list[str], when: str) -> None:
    """Do a step in this process, which a kill ends just before or just after the commit."""
    book = Logbook(store.connect(url), consent.Keyring(folder), now)
    setattr(book, when, lambda: os.kill(os.getpid(), signal.SIGKILL))
    getattr(book, step)(*words)


def write_64_events(book: Logbook) -> None:
    """Sign-ups, confirmations, leaves, imports, bounces, blocks and erasures; four checkpoints."""
    names = [f"reader-{number:02}" for number in range(14)]
    for name in names[:9]:
        book.sign_up(name)
    book.sign()
    for name in names[:6]:
        book.confirm(name)
    book.leave(names[0])
    book.deny(names[6])
    book.take_in(*(f"paper-{number}" for number in range(8)))
    book.take_in("paper-8", "paper-9", status="pending")
    book.rename(names[1])
    book.erase(names[2])
    book.sign()
    for name in names[9:]:
        book.sign_up(name)
        book.confirm(name)
    book.sign_up(names[1], "tide-tables")
    book.confirm(names[1])
    book.bounce("paper-0")
    book.unblock(names[6])
    book.rename(names[1])
    book.erase(names[9])
    book.erase("paper-8")
    book.leave(names[3])
    book.now += timedelta(days=2)
    book.sign_up(names[3])
    book.sign()
    book.confirm(names[3])
    missing = 64 - book.size
    assert missing > 0, missing
    book.take_in(*(f"more-{number}" for number in range(missing)))
    book.sign()
    assert book.size == 64


def publication(slug: str, now: datetime) -> store.Publication:
    """A publication that sends no letters by itself."""
    return store.Publication(
        slug=slug,
        title=slug.replace("-", " ").title(),
        from_name="Field Notes",
        from_address="notes@example.org",
        postal_address="Field Notes, 1 Meadow Lane, Exampleton",
        privacy_url="https://example.org/privacy",
        privacy_version="2026-01",
        language="en",
        sends_welcome=False,
        created_at=now,
    )


def address(name: str) -> str:
    """The mailbox of a reader of this name."""
    return f"{name}@example.net"


def _by(channel: Any) -> consent.Evidence:
    return consent.Evidence(actor="subscriber", channel=channel)
