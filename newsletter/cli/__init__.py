"""The command line: `newsletter`, for operators and their scripts.

Exit codes are stable: 0 done, 1 it could not be done, 2 the command was written wrongly, 3 some
mail was not delivered, 4 the consent log does not verify, 5 the settings, 6 the database's schema,
7 a digest was paused for what an operator has to look into, 8 a digest is not fit to be sent.
"""

from __future__ import annotations

from pathlib import Path

import click

from newsletter import __version__
from newsletter.cli.group import Choice, EntryGroup, Lazy

_SET_UP = "Set up"
_WRITE = "People and what they read"
_SEND = "Sending"
_KEEP = "Keeping it well"

COMMANDS = {
    "init": Lazy("newsletter.cli.init:init", "Make newsletter.toml and the database.", _SET_UP),
    "config": Lazy("newsletter.cli.config:config", "Check or show the settings.", _SET_UP),
    "migrate": Lazy(
        "newsletter.cli.migrate:migrate", "Bring the database to the newest schema.", _SET_UP
    ),
    "serve": Lazy("newsletter.cli.serve:serve", "Run the web app and the worker.", _SET_UP),
    "worker": Lazy("newsletter.cli.worker:worker", "Run the sending worker alone.", _SET_UP),
    "dkim": Lazy("newsletter.cli.dkim:dkim", "The keys that sign the mails.", _SET_UP),
    "demo": Lazy("newsletter.cli.demo:demo", "See the whole journey, on your machine.", _SET_UP),
    "publication": Lazy(
        "newsletter.cli.publication:publication", "What people subscribe to.", _WRITE
    ),
    "subscriber": Lazy("newsletter.cli.subscriber:subscriber", "Who subscribed.", _WRITE),
    "article": Lazy("newsletter.cli.article:article", "What there is to read.", _WRITE),
    "feed": Lazy("newsletter.cli.feed:feed", "Articles that come by themselves.", _WRITE),
    "digest": Lazy("newsletter.cli.digest:digest", "Articles composed into one mailing.", _WRITE),
    "plan": Lazy("newsletter.cli.plan:plan", "Digests that are composed by themselves.", _WRITE),
    "send": Lazy("newsletter.cli.send:send", "Send an approved digest.", _SEND),
    "pause": Lazy("newsletter.cli.pause:pause", "Hold a digest that is being sent.", _SEND),
    "resume": Lazy("newsletter.cli.pause:resume", "Go on with a paused digest.", _SEND),
    "status": Lazy("newsletter.cli.status:status", "How far the sending is.", _SEND),
    "deliveries": Lazy(
        "newsletter.cli.deliveries:deliveries", "What became of each mail of a digest.", _SEND
    ),
    "retry": Lazy("newsletter.cli.retry:retry", "Send failed or uncertain mails again.", _SEND),
    "backup": Lazy("newsletter.cli.backup:backup", "Copy the live database.", _KEEP),
    "secret": Lazy("newsletter.cli.secret:secret", "Change the key that signs links.", _KEEP),
    "recover": Lazy(
        "newsletter.cli.recover:recover", "Go on with a database from a backup.", _KEEP
    ),
    "tidy": Lazy("newsletter.cli.tidy:tidy", "Erase what is old enough, at once.", _KEEP),
    "consent": Lazy("newsletter.cli.consent:consent", "Read or check the consent log.", _KEEP),
}


@click.group(cls=EntryGroup, lazy=COMMANDS)
@click.option(
    "--config",
    "config_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The settings; without it, newsletter.toml of the working directory.",
)
@click.version_option(__version__, prog_name="newsletter", help="Print the version.")
@click.pass_context
def main(ctx: click.Context, config_file: Path | None) -> None:
    """Newsletters with proof of consent: sign-up, digests and their sending.

    New here? `newsletter demo` shows the whole journey; `newsletter init` starts your own.
    """
    ctx.obj = Choice(config_file)


__all__ = ["COMMANDS", "main"]
