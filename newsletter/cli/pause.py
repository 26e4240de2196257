"""`newsletter pause` and `newsletter resume`: hold a digest that is being sent, and go on."""

from __future__ import annotations

from collections.abc import Callable

import click
from sqlalchemy.orm import Session

from newsletter import store
from newsletter.cli import installation
from newsletter.cli.naming import digest_argument, find
from newsletter.sending import control


@click.command()
@digest_argument
def pause(*, digest_id: int) -> None:
    """Hold a digest that is being sent: from the next mail on, nothing of it is handed over.

    \b
    newsletter pause 7
    """
    _change(digest_id, control.pause)
    click.echo(f"Digest {digest_id} is paused; go on with: newsletter resume {digest_id}")


@click.command()
@digest_argument
def resume(*, digest_id: int) -> None:
    """Go on with a paused digest. A running worker takes it up by itself.

    \b
    newsletter resume 7
    newsletter send 7
    """
    _change(digest_id, control.resume)
    click.echo(
        f"Digest {digest_id} goes on with a running worker, or with: newsletter send {digest_id}"
    )


def _change(digest_id: int, change: Callable[[Session, store.Digest], None]) -> None:
    with installation.opened() as here, store.transaction(here.engine) as session:
        change(session, find(session, digest_id))
