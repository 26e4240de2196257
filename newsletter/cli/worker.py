"""`newsletter worker`: what sends, reads feeds and carries out plans, alone."""

from __future__ import annotations

import click

from newsletter.cli import installation
from newsletter.sending import standing
from newsletter.worker import run_worker, smtp_pool, stop_on_signals


@click.command()
def worker() -> None:
    """Send what is to be sent: people's own letters first, then digests; until it is stopped.

    Beside that it reads the feeds that are due and carries out the plans whose time has come.

    SIGTERM and Ctrl-C end it cleanly: it begins nothing more, and the relay has stop_grace seconds
    to answer the mails whose last step began. A second one does not wait for it, which can leave as
    many mails uncertain as there are connections. Several workers can run at once, on several
    machines with PostgreSQL. It signs the consent log as checkpoint_every says. Exit code 4, and
    nothing is sent, when the log has a fault at the start; one that shows later makes it wait until
    the log is mended.

    \b
    newsletter worker
    """
    with installation.opened() as here:
        smtp_pool(here.settings)  # says what is missing before it says that it runs
        fault = standing.take_up(here.engine, here.settings)
        if fault is not None:
            raise fault
        click.echo("The worker runs; Ctrl-C ends it.", err=True)
        with stop_on_signals() as stop:
            run_worker(here.engine, here.settings, stop)
