"""`newsletter send`: an approved digest to everybody who confirmed, each of them once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from newsletter import logs, store
from newsletter.cli import display, fitness, installation, output, picture
from newsletter.cli.group import NOT_DELIVERED, STANDS_STILL
from newsletter.cli.naming import digest_argument, find
from newsletter.cli.picture import Look, Rate
from newsletter.cli.signing import signed
from newsletter.errors import LogFault, NewsletterError
from newsletter.mail.transport import RelayProblem
from newsletter.sending import audience, queue, status
from newsletter.worker import Sender, beat, smtp_pool, stop_on_signals


class StandsStill(NewsletterError):
    """The digest was paused for a reason that an operator has to look into."""

    exit_code = STANDS_STILL


def _moment(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    """The moment that a person wrote, in UTC; without a zone, it is in this machine's."""
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value.strip()).astimezone(UTC)
    except (ValueError, OverflowError):
        found = None
    if found is None or ":" not in value:
        raise click.BadParameter(
            f"{value!r} is not a time such as '2026-03-01 08:00' or 2026-03-01T08:00:00Z",
            ctx,
            param,
        )
    return found


@click.command()
@digest_argument
@click.option("--dry-run", is_flag=True, help="Say who would get it and who not, and send nothing.")
@click.option("--queue", "leave", is_flag=True, help="Leave the sending to a running worker.")
@click.option(
    "--at",
    callback=_moment,
    metavar="TIME",
    help="Leave it to a worker at that time: ISO 8601 or 'YYYY-MM-DD HH:MM'.",
)
@click.option("--wait", is_flag=True, help="Stay until the mails that were put off are out too.")
@fitness.force_option
@output.json_option
def send(
    *,
    digest_id: int,
    dry_run: bool,
    leave: bool,
    at: datetime | None,
    wait: bool,
    forced: frozenset[str],
    as_json: bool,
) -> None:
    """Send an approved digest, with a progress bar, until only mails that were put off are left.

    Nobody gets it twice: a second send goes on with what is left, and other workers may help. Exit
    code 0 when every mail was accepted or skipped with a reason, 3 when some are not out, failed or
    uncertain; 4, and nothing is sent, when the consent log has a fault; 7 when the relay refused
    what is no single reader's matter, and the digest waits for you; 8, and nothing is sent, when
    digest check finds an error. Ctrl-C stops cleanly, the same command goes on; a second Ctrl-C
    does not wait for the relay's last answers.

    \b
    newsletter send 7 --dry-run
    newsletter send 7
    newsletter send 7 --at '2026-03-01 08:00'
    """
    if wait and (leave or at is not None):
        raise click.UsageError("--wait goes with sending now, not with --queue or --at.")
    now = installation.now()
    if at is not None and at <= now:
        raise click.UsageError(f"{output.moment(at)} has passed.")
    with installation.opened() as here:
        if dry_run:
            _say_audience(here, digest_id, as_json=as_json)
        elif leave or at is not None:
            _leave_to_worker(here, digest_id, forced, at, as_json=as_json)
        else:
            _send_now(here, digest_id, forced, wait=wait, as_json=as_json)


def _say_audience(here: installation.Installation, digest_id: int, *, as_json: bool) -> None:
    with store.reading(here.engine) as session:
        digest = find(session, digest_id)
        found = audience.count(session, digest, hash_key=here.hash_key)
        if digest.state == store.DigestState.APPROVED:
            fitness.show(fitness.look_at(here, session, digest))
    record = {"digest": digest_id, "receivers": found.receivers, "excluded": found.excluded}
    if not as_json:
        record["excluded"] = found.excluded or "nobody"
    output.emit_record(record, as_json=as_json)


def _leave_to_worker(
    here: installation.Installation,
    digest_id: int,
    forced: frozenset[str],
    at: datetime | None,
    *,
    as_json: bool,
) -> None:
    signed(here)
    _begin(here, digest_id, forced, at)
    with store.reading(here.engine) as session:
        state = find(session, digest_id).state
        has_worker = beat.alive(session) > 0
    if as_json:
        output.emit_json({"digest": digest_id, "state": state, "send_at": at})
    elif at is None or state != store.DigestState.APPROVED:
        click.echo(f"Digest {digest_id} is {state}; a worker sends it. See: newsletter status")
    else:
        click.echo(f"Digest {digest_id} will be sent from {output.moment(at)} on, by a worker.")
    if not has_worker:
        click.echo(
            "Note: no worker runs at the moment; newsletter worker starts one, "
            "newsletter serve too.",
            err=True,
        )


def _begin(
    here: installation.Installation,
    digest_id: int,
    forced: frozenset[str],
    at: datetime | None = None,
) -> None:
    """Raises NotFit for a digest that has not begun and has an error that `forced` does not name,
    StandsStill for one that was paused, but not by an operator.
    """
    with store.reading(here.engine) as session:
        digest = find(session, digest_id)
        if digest.state == store.DigestState.APPROVED:
            fitness.demand(here, session, digest, forced)
    with store.transaction(here.engine) as session:
        digest = find(session, digest_id)
        if digest.state == store.DigestState.PAUSED and digest.pause_reason:
            raise StandsStill(
                f"Digest {digest_id} was paused: {output.clean(digest.pause_reason)}\n"
                f"When that is mended, go on with: newsletter resume {digest_id}"
            )
        queue.begin(session, digest, now=installation.now(), at=at)


def _send_now(
    here: installation.Installation,
    digest_id: int,
    forced: frozenset[str],
    *,
    wait: bool,
    as_json: bool,
) -> None:
    logs.configure_beside_a_person(here.settings.log_level)
    pool = smtp_pool(here.settings)
    signed(here)
    _begin(here, digest_id, forced)
    with store.reading(here.engine) as session:
        expected = audience.not_queued_yet(session, find(session, digest_id))
        expected += status.of_digest(session, digest_id)["total"]
    fault: LogFault | None = None
    rate = Rate()
    with stop_on_signals() as stop, display.on_standard_error(lambda _: "sending") as show:

        def tell(found: dict[str, Any]) -> None:
            done = Look(found, expected).done
            show([Look(found, expected, rate.of(done))])

        try:
            Sender(here.engine, here.settings, pool).run(
                stop, until_idle=True, digest_id=digest_id, wait=wait, progress=tell
            )
        except RelayProblem as error:
            # Nobody is marked failed for it: the summary says what is left.
            click.echo(f"The relay does not take mail: {output.clean(str(error))}", err=True)
        except LogFault as error:
            click.echo(f"Error: {output.clean(str(error))}", err=True)
            fault = error
    with store.reading(here.engine) as session:
        found = status.of_digest(session, digest_id)
    if as_json:
        output.emit_json(found)
    else:
        _say_result(found)
    if code := _exit_code(found, fault):
        click.get_current_context().exit(code)


def _exit_code(found: dict[str, Any], fault: LogFault | None) -> int:
    if fault is not None:
        return fault.exit_code
    if found["pause_reason"]:
        return STANDS_STILL
    return 0 if Look(found, found["total"]).is_fine else NOT_DELIVERED


def _say_result(found: dict[str, Any]) -> None:
    number = found["digest"]
    counts = {name: count for name, count in found["counts"].items() if count}
    click.echo(
        f"Digest {number} is {found['state']}: "
        f"{output.cell(counts) or 'no mail'}; in all {found['total']}"
    )
    if found["pause_reason"]:
        click.echo(f"It was paused: {picture.reason(found)}")
        click.echo(
            f"When that is mended: newsletter resume {number}, then newsletter send {number}"
        )
    elif counts.get("deferred"):
        click.echo("What was put off is tried again by a worker, or by the same command.")
    for state in ("failed", "uncertain"):
        if counts.get(state):
            click.echo(
                f"{state}: see newsletter deliveries {number} --state {state}; "
                f"to try again, newsletter retry {number} --{state}"
            )
