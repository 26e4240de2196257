"""Our sender, as the harness starts it: through what the worker room offers, and nothing else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from sqlalchemy import Engine

from newsletter.config import Settings
from newsletter.worker import Sender, smtp_pool


def settings(url: str, folder: Path, port: int, *, connections: int, **over: Any) -> Settings:
    """An installation whose relay listens on `port`; whatever is put off comes back soon."""
    # Shorter than an operator may set it.
    lease = {"lease": over.pop("lease")} if "lease" in over else {}
    values = {
        "base_url": "https://news.example.org",
        "secret_key": "s" * 40,
        "hash_key": "h" * 32,
        "database_url": url,
        "consent_folder": str(folder / "consent"),
        "smtp_url": SecretStr(f"smtp://127.0.0.1:{port}"),
        "smtp_connections": connections,
        "smtp_timeout": 5,
        "retry_delay": 0.05,
        "retry_delay_max": 0.2,
        **over,
    }
    return Settings(**values).model_copy(update=lease)


def sender(
    engine: Engine, settings: Settings, clock: Callable[[], datetime] | None = None
) -> Callable[[], None]:
    """What works like `newsletter worker`, until somebody kills it. clock: the time; None: now's.

    What all processes of one installation read alike is read here, before they are forked.
    """
    pool = smtp_pool(settings)
    over: dict[str, Any] = {"clock": clock} if clock else {}
    return lambda: Sender(engine, settings, pool, relay_delay=0.01, **over).run(threading.Event())


def run(engine: Engine, settings: Settings, stop: threading.Event) -> None:
    """Work in this thread until `stop` is set; raises what ends it otherwise."""
    Sender(engine, settings, smtp_pool(settings), relay_delay=0.01).run(stop)


def send_all(engine: Engine, settings: Settings, is_over: Callable[[], bool]) -> None:
    """Work in this process until nothing is left to send; at most a minute."""
    stop = threading.Event()
    thread = threading.Thread(target=run, args=(engine, settings, stop))
    thread.start()
    end = time.monotonic() + 60
    while thread.is_alive() and not is_over() and time.monotonic() < end:
        time.sleep(0.02)
    stop.set()
    thread.join()
    engine.dispose()
