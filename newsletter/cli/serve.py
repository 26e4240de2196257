"""`newsletter serve`: the web app and the sending worker in one process, ended cleanly.

When the worker cannot go on, the whole process ends with an error: whoever keeps it running (such
as systemd) starts it anew, instead of a service that takes sign-ups and never mails.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import click

from newsletter.cli import installation
from newsletter.errors import NewsletterError
from newsletter.sending import standing
from newsletter.web import Server, create_app, make_server
from newsletter.worker import Stop, run_worker


class CannotListen(NewsletterError):
    """The address or port is not to be had; another can be chosen with --host and --port."""


@click.command()
@click.option("--host", metavar="ADDRESS", help="Where to listen; the setting host otherwise.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="The port; the setting port otherwise. 0 takes any free one.",
)
@click.option("--no-worker", is_flag=True, help="The web app alone; newsletter worker sends.")
def serve(*, host: str | None, port: int | None, no_worker: bool) -> None:
    """Run the web app on a production server, and the sending worker beside it.

    SIGTERM and Ctrl-C end it cleanly: requests are finished, and the relay has stop_grace seconds
    to answer the mails whose last step began; a second one does not wait for it, which can leave
    some uncertain. Put a reverse proxy with TLS before it. Without smtp_url nothing is sent. While
    the consent log has a fault nobody is signed up and nothing is sent, and it says what to do;
    leaving always works.

    \b
    newsletter serve
    newsletter serve --host 0.0.0.0 --port 8080 --no-worker
    """
    with installation.opened() as here:
        settings = here.settings
        if settings.smtp is None and not no_worker:
            click.echo("Note: smtp_url is not set: mails wait in the outbox.", err=True)
        has_worker = settings.smtp is not None and not no_worker
        server = _listen(
            here,
            settings.host if host is None else host,
            settings.port if port is None else port,
        )
        if fault := standing.take_up(here.engine, settings):
            click.echo(f"Note: sign-up and sending stand still. {fault}", err=True)
        click.echo(f"{settings.base_url} is served on {server.url}; Ctrl-C ends it.", err=True)
        stop = Stop()
        with _closed_by_signals(server, stop):
            if has_worker:
                _run_both(here, server, stop)
            else:
                server.run()


def _listen(here: installation.Installation, host: str, port: int) -> Server:
    app = create_app(here.settings, here.engine)
    try:
        return make_server(app, host, port, threads=here.settings.threads)
    except OSError as error:
        raise CannotListen(
            f"Cannot listen on {host}, port {port}: {error.strerror or error}. "
            "--host and --port choose another."
        ) from error
    except ValueError as error:  # waitress's word for a name without an address
        raise CannotListen(
            f"Cannot listen on {host!r}, port {port}: there is no such address or host name. "
            "--host chooses another."
        ) from error


def _run_both(here: installation.Installation, server: Server, stop: Stop) -> None:
    """Serve and send until the server is closed; raises what ended the worker before that."""
    ended_by: list[Exception] = []

    def work() -> None:
        try:
            run_worker(here.engine, here.settings, stop)
        except Exception as error:  # handed to the main thread, which ends the process with it
            ended_by.append(error)
        finally:
            stop.set()
            server.close()

    worker = threading.Thread(target=work, name="worker")
    worker.start()
    try:
        server.run()
    finally:
        # Set already but for a fault of the server's. In a thread of its own, since a signal that
        # comes while this one sets it would wait for the event's lock for ever.
        setting = threading.Thread(target=stop.set)
        setting.start()
        setting.join()
        worker.join()
    if ended_by:
        raise ended_by[0]


@contextmanager
def _closed_by_signals(server: Server, stop: Stop) -> Iterator[None]:
    """SIGTERM and SIGINT end both, the first one with patience; a second one with none."""

    def begin() -> None:
        stop.set()
        server.close()

    wishes = iter((begin, stop.at_once.set))

    def close(_number: int, _frame: FrameType | None) -> None:
        # Each event is set once: a signal that comes while another one is dealt with would wait
        # for the event's lock, which the other one holds.
        if (wish := next(wishes, None)) is not None:
            wish()

    before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {
        number: signal.signal(number, close) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)
