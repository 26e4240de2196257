"""`newsletter status`: how far the sending is, and what hangs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from newsletter import store
from newsletter.cli import display, installation, output, picture
from newsletter.cli.group import NOT_DELIVERED
from newsletter.cli.naming import ID
from newsletter.sending import status as sending
from newsletter.store.count import replies

_UNDER_WAY = ("queued", "claimed", "armed")


@click.command()
@click.argument("digest_id", metavar="[ID]", required=False, type=ID)
@click.option("--watch", is_flag=True, help="Look on until nothing is being sent any more.")
@click.option(
    "--wait", is_flag=True, help="With --watch: until the mails that were put off are out too."
)
@output.json_option
def status(*, digest_id: int | None, watch: bool, wait: bool, as_json: bool) -> None:
    """Show digests, the outbox, letters that hang, and whether a worker runs; or one digest.

    The states of a mail: queued, claimed (a worker has it), armed (its last step began), accepted
    (the relay took it), deferred (it will be tried again), failed, skipped (with a reason),
    uncertain (the line broke at the last step; nobody knows, so it is not sent again).

    --watch shows what is being sent as `newsletter send` does, whoever does it: live on a terminal,
    elsewhere a line now and then, with --json each a JSON object. It ends by itself when all is out
    but what was put off, or when no process has been there for 15 seconds to send: with exit code 0
    if every mail was accepted or skipped with a reason, else with 3. Ctrl-C ends the look, not the
    sending.

    \b
    newsletter status
    newsletter status 7 --json
    newsletter status --watch
    """
    if wait and not watch:
        raise click.UsageError("--wait goes with --watch.")
    if watch:
        _watch(digest_id, wait=wait, as_json=as_json)
        return
    with installation.opened() as here, store.reading(here.engine) as session:
        if digest_id is None:
            overview = sending.overview(session, installation.now())
            said = []
        else:
            overview = sending.of_digest(session, digest_id)
            said = [] if as_json else replies(session, digest_id)
    if as_json:
        output.emit_json(overview)
    elif digest_id is None:
        _show_all(overview)
    else:
        _show_one(overview, said)


def _watch(digest_id: int | None, *, wait: bool, as_json: bool) -> None:
    # What only looking on needs.
    from newsletter.cli.watching import Watch  # noqa: PLC0415
    from newsletter.worker import stop_on_signals  # noqa: PLC0415

    with installation.opened() as here:
        shown = display.on_standard_output(lambda look: f"digest {look.number}", as_json=as_json)
        with stop_on_signals() as stop, shown as show:
            looks = Watch(here.engine, digest_id, wait=wait).run(show, stop)
    if stop.is_set():
        return
    if not looks:
        click.echo("Nothing is being sent.", err=True)
    for look in looks:
        if look.is_sending and (look.only_put_off or not look.senders):
            click.echo(
                f"Digest {look.number} goes on with newsletter worker, or newsletter send "
                f"{look.number}.",
                err=True,
            )
    if not all(look.is_fine for look in looks):
        click.get_current_context().exit(NOT_DELIVERED)


def _show_one(found: dict[str, Any], said: list[dict[str, Any]]) -> None:
    counts = found["counts"]
    record = {"digest": found["digest"], "state": found["state"], "mails": found["total"], **counts}
    if found["state"] == store.DigestState.PAUSED:
        record["paused"] = picture.reason(found)
    if worst := picture.worst_domain(found):
        record["worst_domain"] = worst
    output.emit_record(record, as_json=False)
    if said:
        click.echo()
        columns = ["mails", "state", "reason", "code", "reply"]
        output.emit_table(said, columns, as_json=False, nothing="")


def _show_all(found: dict[str, Any]) -> None:
    rows = [_digest_row(each) for each in found["digests"]]
    output.emit_table(
        rows,
        [
            "id",
            "publication",
            "subject",
            "state",
            "mails",
            "under_way",
            "accepted",
            "deferred",
            "failed",
            "skipped",
            "uncertain",
            "begins",
        ],
        as_json=False,
        nothing="No digest is approved, being sent or sent.",
    )
    for each in found["digests"]:
        if each["pause_reason"]:
            click.echo(
                f"Digest {each['digest']} was paused: {picture.reason(each)}\n"
                f"When that is mended: newsletter resume {each['digest']}"
            )
    click.echo()
    output.emit_record(
        {
            "letters": {name: n for name, n in found["letters"].items() if n} or "none",
            "stuck": {name: n for name, n in found["stuck"].items() if n} or "none",
            "worker": _worker_line(found),
        },
        as_json=False,
    )
    if found["log_fault"] is not None:
        click.echo(f"Sign-up and sending stand still. {output.clean(found['log_fault'])}", err=True)


def _digest_row(each: dict[str, Any]) -> dict[str, Any]:
    counts = each["counts"]
    return {
        **counts,
        "id": each["digest"],
        "publication": each["publication"],
        "subject": each["subject"],
        "state": each["state"],
        "mails": each["total"],
        "under_way": sum(counts[name] for name in _UNDER_WAY),
        "begins": _moment(each["send_at"]) if each["state"] == "approved" else None,
    }


def _worker_line(found: dict[str, Any]) -> str:
    """Who sends; or since when nobody does, which an operator must not have to guess."""
    workers = found["workers"]
    if workers:
        return "; ".join(
            f"{each['host']}, process {each['pid']}, seen {_at(each['seen_at'])}"
            for each in workers
        )
    seen = found["worker_seen_at"]
    return f"no worker seen since {_at(seen)}" if seen else "no worker seen, ever"


def _at(text: str) -> str:
    return output.moment(_moment(text))


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
