"""`newsletter consent`: what people declared and withdrew, and the proof that the log is whole."""

from __future__ import annotations

from collections import Counter
from typing import Any

import click

from newsletter import consent as record
from newsletter import store
from newsletter.addresses import parse
from newsletter.cli import installation, output
from newsletter.cli.group import NounGroup
from newsletter.cli.progress import progress
from newsletter.errors import ConsentLogError, NotFound
from newsletter.store.find import subscriber_by_key


@click.group(cls=NounGroup)
def consent() -> None:
    """Read or check the log of what people declared and withdrew."""


@consent.command()
@click.argument("address", required=False)
@output.json_option
def log(*, address: str | None, as_json: bool) -> None:
    """Show the events, oldest first: all of them, or those of ADDRESS.

    --json has the whole of each event: the exact wording, its version, the evidence, and the
    commitment in hex. Of an erased person's events only position and commitment are left.

    \b
    newsletter consent log ada@example.net
    newsletter consent log --json > log.json
    """
    with installation.opened() as here, store.reading(here.engine) as session:
        subscriber_id = None
        if address is not None:
            found = subscriber_by_key(session, parse(address).key)
            if found is None:
                raise NotFound("No subscriber has this address.")
            subscriber_id = found.id
        with output.closed(record.entries(session, subscriber_id)) as entries:
            output.emit_table(
                (_row(entry, whole=as_json) for entry in entries),
                ["position", "time", "type", "publication", "address", "actor", "channel"],
                as_json=as_json,
                nothing="The log is empty.",
            )


@consent.command()
@output.json_option
@click.pass_context
def verify(ctx: click.Context, *, as_json: bool) -> None:
    """Check every position and commitment, and that the states follow from the log.

    Exit code 4, with the first fault and its position, when something does not fit.

    \b
    newsletter consent verify && echo whole
    """
    with installation.opened() as here, store.reading(here.engine) as session:
        try:
            with progress("checking events") as report:
                result = record.verify(session, report)
        except ConsentLogError as error:
            if not as_json:
                raise
            output.emit_json({"ok": False, "fault": str(error)})
            ctx.exit(error.exit_code)
    states = dict(sorted(Counter(result.states.values()).items()))
    if as_json:
        output.emit_json(
            {"ok": True, "events": result.events, "erased": result.erased, "states": states}
        )
        return
    click.echo(
        f"The log verifies: {result.events} events, {result.erased} of them erased; "
        f"subscriptions: {output.cell(states) or 'none'}"
    )


def _row(entry: record.Entry, *, whole: bool) -> dict[str, Any]:
    if whole:
        return {
            "position": entry.position,
            "commitment": entry.commitment,
            "erased": entry.erased,
            "event": entry.fields or None,
        }
    if entry.erased:
        return {"position": entry.position, "type": "(erased)"}
    return entry.fields | {"position": entry.position, "time": entry.fields["time"][:19] + "Z"}
