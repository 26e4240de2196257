"""What runs by itself: the send loop, the scheduled digests, the taking back of lost claims."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from sqlalchemy import Engine

from newsletter.config import Settings
from newsletter.errors import ConfigError
from newsletter.mail.smtp import SmtpTransport
from newsletter.mail.transport import Transport
from newsletter.worker.loop import Sender

__all__ = ["Sender", "run_worker", "smtp_transport", "stop_on_signals"]


def smtp_transport(settings: Settings) -> Callable[[], Transport]:
    """What makes connections to the relay of the settings; connects to nothing yet.

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
    return lambda: SmtpTransport(server, settings.smtp_timeout)


def run_worker(engine: Engine, settings: Settings, stop: threading.Event) -> None:
    """Send what there is to send until `stop` is set; then what is in flight is finished.

    Raises whatever ended it otherwise: a worker that cannot work says so instead of idling.
    """
    Sender(engine, settings, smtp_transport(settings)).run(stop)


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set; the handlers of before are put back at the end.

    For the main thread only, where Python delivers signals.
    """
    stop = threading.Event()

    def set_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, set_stop) for number in _SIGNALS}
    try:
        yield stop
    finally:
        for number, old in before.items():
            signal.signal(number, old)


_SIGNALS = (signal.SIGTERM, signal.SIGINT)
