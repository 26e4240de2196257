"""Mails that are sent once more although the first try may have arrived.

A row says so in its reason until the relay answers. Whatever ends it otherwise (a refusal, a
reader who left, a cancelled digest) says nothing of the first try: it is uncertain as it was.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, case, literal, null, or_

from newsletter.store.outbox import Delivery, DeliveryState

# The reason of a row that an operator wants sent again although the first try may have arrived;
# with the second one even when the mail is not the same any more.
RETRY_UNCERTAIN = "retry-uncertain"
RETRY_CHANGED = "retry-changed"
# Sent again by itself, because the relay knows its mails for a while; and when that has passed.
RETRY_BY_ITSELF = "retry-by-itself"
TOO_LATE = "too-late"
# Put off, or failed in the end, by an answer that is about us or the message as a whole.
POLICY = "policy"


def in_doubt() -> ColumnElement[bool]:
    """Whether a row's first try may have arrived. An expression about a row of `delivery`."""
    reasons = (RETRY_UNCERTAIN, RETRY_CHANGED, RETRY_BY_ITSELF)
    return or_(*(Delivery.reason == each for each in reasons))


def doubt_alone() -> ColumnElement[Any]:
    """The reason of a row that is in doubt; NULL in place of what an earlier try met."""
    return case((in_doubt(), Delivery.reason), else_=null())


def or_uncertain(state: DeliveryState) -> ColumnElement[Any]:
    """`state` for a row that ends without a mail, and uncertain for one that is in doubt."""
    # A parameter of its own for each: a list would have to be spread out (newsletter.store).
    doubtful = literal(DeliveryState.UNCERTAIN.value)
    return case((in_doubt(), doubtful), else_=literal(state.value))
