"""Readers whose way to their state stands in the consent log, as the gate of each mail asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from mailing import tell_log


@pytest.fixture
def make_reader(make_reader: Callable[..., Any], now: Any) -> Callable[..., Any]:
    """As tests/conftest.py says, and with the consent events that lead to the state."""

    def make(session: Any, *args: Any, **over: Any) -> Any:
        subscription = make_reader(session, *args, **over)
        tell_log(session, subscription, now)
        return subscription

    return make
