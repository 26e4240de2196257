"""What the log says about who is confirmed: each event moves one subscription's state."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from newsletter.consent.event import EventType
from newsletter.store import SubscriptionState

_ALIVE = (SubscriptionState.PENDING, SubscriptionState.CONFIRMED)
_ENDS = {
    EventType.WITHDRAWN: SubscriptionState.UNSUBSCRIBED,
    EventType.BLOCKED: SubscriptionState.UNSUBSCRIBED,
    EventType.BOUNCED: SubscriptionState.BOUNCED,
    EventType.COMPLAINED: SubscriptionState.COMPLAINED,
}


def apply(states: MutableMapping[str, str], fields: dict[str, Any]) -> str | None:
    """Move the state of the event's subscription in `states` (subscription's public id -> state).

    fields: the event, as parsed from its canonical bytes.

    Returns what is wrong when the event does not fit the state before it, else None. A second
    request never changes a confirmed state.
    """
    name = fields.get("subscription")
    if name is None:
        return None
    kind, before = fields["type"], states.get(name)
    if kind == EventType.REQUESTED:
        states[name] = before if before in _ALIVE and before else SubscriptionState.PENDING
    elif kind == EventType.IMPORTED:
        if before is not None:
            return f"an import of a subscription that is {before} already"
        states[name] = fields["status"]
    elif kind == EventType.CONFIRMED:
        if before != SubscriptionState.PENDING:
            return f"a confirmation of a subscription that is {before or 'unknown'}"
        states[name] = SubscriptionState.CONFIRMED
    elif kind in _ENDS:
        if before is None:
            return f"{kind} for a subscription that is unknown"
        if before in _ALIVE:
            states[name] = _ENDS[kind]
        elif kind != EventType.BLOCKED:
            return f"{kind} for a subscription that is {before} already"
    return None


def follows(kind: EventType, before: str | None, status: str | None = None) -> str | None:
    """The state that an event moves a subscription to; None when it leaves it as it is.

    before: its state until then. status: of an import, what the person was imported as.
    """
    states = {} if before is None else {"": before}
    apply(states, {"subscription": "", "type": kind, "status": status})
    after = states.get("")
    return None if after == before else after
