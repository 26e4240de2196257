"""What runs by itself: the send loop, the taking back of lost claims, feeds, planned digests."""

from __future__ import annotations

import threading
from collections.abc import Callable

from sqlalchemy import Engine

from newsletter.config import Settings
from newsletter.errors import ConfigError
from newsletter.mail.pool import Pool
from newsletter.mail.tls import client_context
from newsletter.worker.loop import Sender
from newsletter.worker.stopping import Stop, stop_on_signals

__all__ = ["Sender", "Stop", "run_worker", "smtp_pool", "stop_on_signals"]


def smtp_pool(settings: Settings) -> Callable[[], Pool]:
    """What makes the connections to the relay of the settings; connects to nothing yet.

    Raises ConfigError when no relay is set.
    """
    server = settings.smtp
    if server is None:
        raise ConfigError(
            [
                "smtp_url is not set, and mail cannot leave without a relay: put smtp_url into "
                "newsletter.toml or set NEWSLETTER_SMTP_URL, such as smtp://127.0.0.1:25"
            ]
        )
    tls = client_context(settings.smtp_certificate, settings.smtp_ca_file)
    return lambda: Pool(
        server,
        size=settings.smtp_connections,
        timeout=settings.smtp_timeout,
        mails_per_connection=settings.smtp_mails_per_connection,
        tls=tls,
    )


def run_worker(engine: Engine, settings: Settings, stop: threading.Event) -> None:
    """Send, read feeds and carry out plans until `stop` is set; what is in flight is finished then.

    Raises whatever ended it otherwise: a worker that cannot work says so instead of idling.
    """
    # Half of what there is to import is for articles and feeds, and whoever only sends needs none.
    from newsletter.worker.newsroom import Newsroom, beside  # noqa: PLC0415

    sender = Sender(engine, settings, smtp_pool(settings))
    with beside(Newsroom(engine, settings), stop):
        sender.run(stop)
