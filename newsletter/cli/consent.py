"""`newsletter consent`: what people declared and withdrew, and the proof that the log is whole."""

from __future__ import annotations

from typing import Any

import click

from newsletter import consent as record
from newsletter import store
from newsletter.addresses import parse
from newsletter.cli import installation, output
from newsletter.cli.group import NounGroup
from newsletter.cli.logkey import checkpoint, key, rotate_key
from newsletter.cli.receipt import prove, verify_receipt
from newsletter.cli.verifying import verify
from newsletter.cli.witness import check_witness
from newsletter.errors import NotFound
from newsletter.store.find import subscriber_by_key


@click.group(cls=NounGroup)
def consent() -> None:
    """Read or check the log of what people declared and withdrew."""


consent.add_command(prove)
consent.add_command(verify_receipt)
consent.add_command(verify)
consent.add_command(key)
consent.add_command(rotate_key)
consent.add_command(checkpoint)
consent.add_command(check_witness)


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
