"""Our sender, as the harness starts it: through what the worker room offers, and nothing else."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from crash.world import World
from pydantic import SecretStr
from sqlalchemy import Engine

from newsletter.config import Settings
from newsletter.worker import Sender, smtp_pool


def settings(url: str, folder: Path, port: int, *, connections: int, **over: Any) -> Settings:
    """An installation whose relay listens on `port`; whatever is put off comes back soon."""
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
    return Settings(**values)


def send(engine: Engine, settings: Settings, stop: threading.Event | None = None) -> None:
    """Work like `newsletter worker`, until `stop` is set or somebody kills us."""
    Sender(engine, settings, smtp_pool(settings), relay_delay=0.01).run(stop or threading.Event())


def send_all(engine: Engine, world: World, *, connections: int) -> None:
    """Send all that a world has to send, in this process."""
    chosen = settings(world.url, world.folder, world.sink.port, connections=connections)
    stop = threading.Event()
    thread = threading.Thread(target=send, args=(engine, chosen, stop))
    thread.start()
    while thread.is_alive() and not world.is_over():
        time.sleep(0.02)
    stop.set()
    thread.join()
    engine.dispose()
