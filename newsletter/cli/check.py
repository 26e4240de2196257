"""`newsletter digest check`: what keeps a digest from being sent, and what would not look well."""

from __future__ import annotations

import click

from newsletter import store
from newsletter.cli import fitness, installation, output
from newsletter.cli.naming import digest_argument, find
from newsletter.digests.check import Level


@click.command()
@digest_argument
@click.option("--online", is_flag=True, help="Ask the web for its links and pictures too.")
@output.json_option
@click.pass_context
def check(ctx: click.Context, *, digest_id: int, online: bool, as_json: bool) -> None:
    """Say what is wrong with a digest's mail, where, and how to mend it. Nothing is sent.

    approve and send ask the same, but not the web. Errors stop them, unless --force NAME lets one
    pass; warnings are shown. Exit code 8 when there is an error.

    \b
    newsletter digest check 7
    newsletter digest check 7 --online --json
    """
    with installation.opened() as here:
        with store.reading(here.engine) as session:
            checked = fitness.look_at(here, session, find(session, digest_id))
        if online:
            checked = fitness.ask_the_web(here, checked)
    if as_json:
        output.emit_json(fitness.record(checked))
    else:
        output.emit_lines([*fitness.lines(checked.findings), fitness.summary(checked)])
    if checked.count(Level.ERROR):
        ctx.exit(fitness.NOT_FIT)
