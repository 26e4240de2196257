"""`newsletter retry`: an operator's word to send mails again that failed, or that may have gone."""

from __future__ import annotations

from datetime import timedelta

import click

from newsletter import store
from newsletter.cli import installation, output
from newsletter.cli.group import NOT_DELIVERED
from newsletter.cli.naming import digest_argument, find
from newsletter.cli.signing import signed
from newsletter.config import Settings
from newsletter.sending import retry as again
from newsletter.store import DigestState

_MINUTE = timedelta(minutes=1)


@click.command()
@digest_argument
@click.option(
    "--failed", is_flag=True, help="Those that the relay refused, or that cannot be written."
)
@click.option("--uncertain", is_flag=True, help="Those of which nobody knows whether they arrived.")
@click.option(
    "--even-changed",
    is_flag=True,
    help="With --uncertain: also where the mail would not be the same one any more.",
)
@output.json_option
def retry(
    *, digest_id: int, failed: bool, uncertain: bool, even_changed: bool, as_json: bool
) -> None:
    """Put mails of a digest back into the queue: your word that they are sent once more.

    --failed: nobody got these. --uncertain: the line broke before the relay's answer came, and it
    may have taken them, so that each of these readers may get the mail TWICE; a relay that knows
    its copies (idempotency_header) prevents it. It is the same mail byte by byte, under the same
    Message-ID; what would not be the same one is left uncertain, with the reason `changed`. What is
    younger than 15 minutes (or than ten times smtp_timeout, if that is longer) is left alone too,
    since its answer may still come: exit code 3 then.

    \b
    newsletter retry 7 --failed
    newsletter retry 7 --uncertain && newsletter send 7
    """
    if failed == uncertain:
        raise click.UsageError("Say which: --failed, or --uncertain.")
    if even_changed and not uncertain:
        raise click.UsageError("--even-changed goes with --uncertain.")
    with installation.opened() as here:
        signed(here)
        with store.transaction(here.engine) as session:
            digest, now = find(session, digest_id), installation.now()
            if failed:
                done = again.failed(session, digest, now)
            else:
                hold = again.hold(here.settings.smtp_timeout)
                done = again.uncertain(
                    session, digest, now, older_than=hold, even_changed=even_changed
                )
            is_paused = digest.state == DigestState.PAUSED
    if as_json:
        output.emit_json({"digest": digest_id, "again": done.again, "left": done.left})
    else:
        _say(here.settings, digest_id, done, "uncertain" if uncertain else "failed")
        if done.again and is_paused:
            click.echo(f"The digest is paused; go on with: newsletter resume {digest_id}")
        elif done.again:
            click.echo(f"A running worker takes them up, or: newsletter send {digest_id}")
    if done.left:
        click.get_current_context().exit(NOT_DELIVERED)


def _say(settings: Settings, digest_id: int, done: again.Done, state: str) -> None:
    if done.again:
        click.echo(f"Mails of digest {digest_id} that are sent once more: {done.again}")
        if state == "uncertain":
            click.echo(_what_it_means(settings))
    elif not done.left:
        click.echo(f"Digest {digest_id} has no mail that is {state}; nothing changes.")
    if done.left:
        minutes = -(-again.hold(settings.smtp_timeout) // _MINUTE)
        click.echo(
            f"Left alone, being younger than {minutes} minutes: {done.left}. Their answer may "
            "still come; the same command takes them later."
        )


def _what_it_means(settings: Settings) -> str:
    header = settings.idempotency_header
    if header is None:
        return (
            "The relay may have taken them already: each of these readers may get the mail twice, "
            "with the same Message-ID."
        )
    return (
        f"One that carried the header {header} when it was handed over, in the last "
        f"{settings.idempotency_hours:g} hours, the relay knows, and delivers no second one. Of an "
        "older one, or one that went before that header was set, the reader may get two."
    )
