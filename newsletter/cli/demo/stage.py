"""What the demo happens on: a real installation with all that it talks to, on loopback.

The web app, the SMTP receiver and the sending worker are the real ones; only the website that the
articles come from is made for the demo.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from newsletter import config, store
from newsletter.cli import installation
from newsletter.cli.demo.site import Site
from newsletter.consent import Keyring
from newsletter.errors import BadInput
from newsletter.mail.sink import Sink
from newsletter.web import Server, create_app, make_server
from newsletter.web.mailbox import mailbox_app
from newsletter.worker import Sender, smtp_pool

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_HOST = "127.0.0.1"


@dataclass(frozen=True)
class Stage:
    """All that is up. mailbox_url: where the received mails can be looked at."""

    folder: Path
    settings: config.Settings
    engine: Engine
    sink: Sink
    site: Site
    mailbox_url: str

    @property
    def base_url(self) -> str:
        """The installation's address."""
        return self.settings.base_url


class _Later:
    """A WSGI app that is known after its server's port is: the port stands in every link."""

    app: WSGIApplication

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self.app(environ, start_response)


@contextmanager
def raised(folder: Path) -> Iterator[Stage]:
    """A stage in `folder`, which gets newsletter.toml, newsletter.db, consent/ and mailbox/.

    Raises BadInput when there is an installation in it already.
    """
    for name in (config.DEFAULT_FILE, "newsletter.db", "consent", "mailbox", "receipt.json"):
        if (folder / name).exists():
            raise BadInput(f"{folder / name} exists: choose an empty folder for the demo.", "keep")
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        sink = stack.enter_context(Sink(folder / "mailbox"))
        later = _Later()
        server = stack.enter_context(_serving(later))
        settings = _settle(folder / config.DEFAULT_FILE, server, sink)
        engine = store.connect(settings.database_url)
        stack.callback(engine.dispose)
        store.create(engine, settings.hash_key_bytes, installation.now())
        Keyring.of(settings).create(settings.log_origin)
        later.app = create_app(settings, engine)
        site = Site(f"{server.url}/static/demo")
        site.url = stack.enter_context(_serving(site)).url
        mailbox = stack.enter_context(_serving(mailbox_app(folder / "mailbox")))
        yield Stage(folder, settings, engine, sink, site, mailbox.url)


@contextmanager
def worker(stage: Stage, *, digests: bool) -> Iterator[Callable[[], None]]:
    """The sending worker beside what happens inside; without `digests` for personal letters only.

    Gives a function that raises what ended the worker, if anything did.
    """
    stop = threading.Event()
    problems: list[Exception] = []

    def work() -> None:
        try:
            sender = Sender(stage.engine, stage.settings, smtp_pool(stage.settings))
            sender.run(stop, digests=digests)
        except Exception as error:  # raised again by `check`
            problems.append(error)

    def check() -> None:
        if problems:
            raise problems[0]

    thread = threading.Thread(target=work, name="worker")
    thread.start()
    try:
        yield check
    finally:
        stop.set()
        thread.join()
    check()


@contextmanager
def _serving(app: WSGIApplication) -> Iterator[Server]:
    server = make_server(app, _HOST, 0, threads=12)
    thread = threading.Thread(target=server.run, name="server")
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()


def _settle(file: Path, server: Server, sink: Sink) -> config.Settings:
    """Write a commented newsletter.toml that fits what is up, and read it as a service would."""
    text = config.template(server.url)
    for name, value in (
        ("database_url", '"sqlite:///newsletter.db"'),
        ("smtp_url", f'"{sink.url}"'),
        ("port", str(server.port)),
        # All visitors come from one machine.
        ("signup_limit", '"1000 per hour"'),
    ):
        text = re.sub(rf"(?m)^# {name} = .*$", f"{name} = {value}", text, count=1)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(text)
    # Not from the environment: the demo must not touch an installation that is set up there.
    return config.load(file, environ={}).settings
