"""How many forms one client may send.

Kept by Flask-Limiter, in memory or in the store that the setting limit_storage names; while that
one is away, in memory. Leaving is never limited: RFC 8058 mails it from a provider's few machines.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TypeVar

from flask import Flask
from flask_limiter import Limiter
from limits.errors import ConfigurationError

from newsletter.config import Settings
from newsletter.errors import ConfigError
from newsletter.web import client

# A person who mends a form does not come near it; a program that tries links does.
OTHER_FORMS = "300 per hour"

View = TypeVar("View", bound=Callable[..., object])


class Limits:
    """The limits of one app, to be put around its views.

    Raises ConfigError when the limits cannot be kept where the settings say.
    """

    def __init__(self, app: Flask, settings: Settings) -> None:
        self._signup = settings.signup_limit
        storage = settings.limit_storage
        # A store that does not answer must not hold up the form: counting goes on in memory.
        timeouts: dict[str, str | int] = {"socket_connect_timeout": 1, "socket_timeout": 1}
        try:
            self._limiter = Limiter(
                client.limit_key,
                app=app,
                storage_uri=storage,
                storage_options=timeouts if storage.startswith("redis") else {},
                strategy="fixed-window",
                # Counting down in a header would make two equal answers differ.
                headers_enabled=False,
                in_memory_fallback_enabled=storage != "memory://",
            )
        except ConfigurationError as error:
            raise ConfigError(
                [
                    f"limit_storage: {error}. Use memory://, or redis://host after "
                    "pip install 'newsletter[redis]'."
                ]
            ) from error

    def signups(self, view: View) -> View:
        """The view takes sign-up forms, as many from one client as the settings say."""
        return self._limiter.limit(self._signup, methods=["POST"])(view)  # type: ignore[return-value]

    def forms(self, view: View) -> View:
        """The view takes other forms; all such views count together."""
        limit = self._limiter.shared_limit(OTHER_FORMS, "forms", methods=["POST"])
        return limit(view)  # type: ignore[return-value]

    def wait(self) -> int:
        """Seconds until the client, which was just refused, may try again."""
        refused = self._limiter.current_limit
        if refused is None:
            return 60
        return max(1, math.ceil(refused.reset_at - time.time()))
