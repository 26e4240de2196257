"""A visitor who acts through the stories, one transaction a step, as the edges do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine, select

from newsletter import addresses, consent, store
from newsletter.subscriptions import confirm, leave, signup

HASH_KEY = b"h" * 32


@dataclass
class Visitor:
    """Drives the stories; `now` moves on with `later`."""

    engine: Engine
    now: datetime

    def later(self, **time: float) -> Visitor:
        self.now += timedelta(**time)
        return self

    def sign_up(self, address: str, slug: str = "field-notes", name: str | None = None) -> bool:
        """True when a mail was queued."""
        with store.transaction(self.engine) as session:
            publication = session.query(store.Publication).filter_by(slug=slug).one()
            evidence = consent.Evidence(
                actor="subscriber",
                channel="form",
                entered=address,
                box_ticked=True,
                wording=consent.wording_of(publication, "en"),
                form_url=f"https://news.example.org/{slug}/",
                client_address="192.0.2.0",
                user_agent="Browser/1",
            )
            form = signup.Signup(addresses.parse(address), name, "en")
            made = signup.request(
                session, publication, form, evidence, hash_key=HASH_KEY, now=self.now
            )
            return made is not None

    def letters(self, letter: str = "confirmation") -> list[store.Delivery]:
        with store.reading(self.engine) as session:
            query = select(store.Delivery).where(store.Delivery.letter == letter)
            return list(session.scalars(query.order_by(store.Delivery.id)))

    def confirm(self, delivery: store.Delivery) -> confirm.View:
        with store.transaction(self.engine) as session:
            return confirm.accept(
                session, delivery.public_id, self.by("link"), hash_key=HASH_KEY, now=self.now
            )

    def deny(self, delivery: store.Delivery) -> None:
        with store.transaction(self.engine) as session:
            confirm.deny(
                session, delivery.public_id, self.by("link"), hash_key=HASH_KEY, now=self.now
            )

    def leave(self, address: str) -> None:
        with store.transaction(self.engine) as session:
            name = self.subscription(address).public_id
            leave.by_reader(session, name, self.by("one-click"), hash_key=HASH_KEY, now=self.now)

    def by(self, channel: str) -> consent.Evidence:
        return consent.Evidence(actor="subscriber", channel=channel)  # type: ignore[arg-type]

    def subscription(self, address: str) -> store.Subscription:
        with store.reading(self.engine) as session:
            return session.scalars(
                select(store.Subscription)
                .join(store.Subscriber)
                .where(store.Subscriber.address_key == addresses.parse(address).key)
            ).one()

    def state(self, address: str) -> str:
        return self.subscription(address).state

    def events(self) -> list[dict[str, object]]:
        with store.reading(self.engine) as session:
            return [entry.fields for entry in consent.entries(session)]

    def kinds(self) -> list[object]:
        return [event.get("type") for event in self.events()]

    def verify(self) -> consent.Report:
        with store.reading(self.engine) as session:
            return consent.verify(session)


@pytest.fixture
def visitor(engine, now, make_publication) -> Visitor:
    with store.transaction(engine) as session:
        make_publication(session)
    return Visitor(engine, now)
