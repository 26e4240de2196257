"""The rows: engine, models, named queries. The only room that knows SQL."""

from newsletter.store.base import Base, UTCDateTime, public_id
from newsletter.store.content import (
    Article,
    ArticleOrigin,
    BodyFormat,
    Digest,
    DigestArticle,
    DigestState,
)
from newsletter.store.engine import connect, reading, transaction
from newsletter.store.feeds import Feed, FeedArticle
from newsletter.store.outbox import Delivery, DeliveryState, LetterName, Worker
from newsletter.store.people import (
    LetterQuota,
    Publication,
    Subscriber,
    Subscription,
    SubscriptionState,
    Suppression,
    SuppressionReason,
)
from newsletter.store.plans import Plan
from newsletter.store.record import (
    ConsentCheckpoint,
    ConsentEvent,
    ConsentTile,
    Installation,
    LedgerEntry,
    LedgerKind,
)
from newsletter.store.schema import check_schema, create, migrate

__all__ = [
    "Article",
    "ArticleOrigin",
    "Base",
    "BodyFormat",
    "ConsentCheckpoint",
    "ConsentEvent",
    "ConsentTile",
    "Delivery",
    "DeliveryState",
    "Digest",
    "DigestArticle",
    "DigestState",
    "Feed",
    "FeedArticle",
    "Installation",
    "LedgerEntry",
    "LedgerKind",
    "LetterName",
    "LetterQuota",
    "Plan",
    "Publication",
    "Subscriber",
    "Subscription",
    "SubscriptionState",
    "Suppression",
    "SuppressionReason",
    "UTCDateTime",
    "Worker",
    "check_schema",
    "connect",
    "create",
    "migrate",
    "public_id",
    "reading",
    "transaction",
]
