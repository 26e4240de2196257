"""`newsletter deliveries`: what became of each mail of a digest, however many they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from newsletter import store
from newsletter.cli import installation, output
from newsletter.cli.naming import digest_argument, find
from newsletter.sending import listing
from newsletter.store import DeliveryState

_COLUMNS = ("address", "state", "reason", "tries", "time", "reply")


@click.command()
@digest_argument
@click.option(
    "--state",
    type=click.Choice([str(each) for each in DeliveryState]),
    help="Only mails in this state.",
)
@output.json_option
def deliveries(*, digest_id: int, state: str | None, as_json: bool) -> None:
    """List each mail of a digest: to whom, its state and why, how often it was tried, and the
    relay's last reply.

    The time is that of the answer; for what was put off, that of the next try, and only such a
    mail has a due_at in JSON. An erased reader's row has no address. --json prints a JSON object on
    each line.

    \b
    newsletter deliveries 7 --state uncertain
    newsletter deliveries 7 --json | jq -r 'select(.reply_code == 550) | .address'
    """
    wanted = None if state is None else DeliveryState(state)
    with installation.opened() as here, store.reading(here.engine) as session:
        digest = find(session, digest_id)
        with output.closed(listing.deliveries(session, digest, installation.now(), wanted)) as rows:
            output.emit_stream(
                rows if as_json else map(_for_people, rows),
                _COLUMNS,
                as_json=as_json,
                nothing="There is no such mail.",
            )


def _for_people(row: Mapping[str, Any]) -> dict[str, Any]:
    reply = " ".join(str(part) for part in (row["reply_code"], row["reply_text"]) if part)
    time = row["due_at"] or row["settled_at"]
    return {**row, "tries": row["attempts"], "time": time, "reply": reply}
