"""`newsletter consent verify`: is the log whole, and do the tables say what it says?"""

from __future__ import annotations

import click

from newsletter import consent, store
from newsletter.cli import installation, output
from newsletter.cli.progress import progress
from newsletter.consent import check, checkpoint
from newsletter.errors import ConsentLogError, LogFault
from newsletter.sending import standing


@click.command()
@click.option("--full", is_flag=True, help="Begin at the first event.")
@output.json_option
@click.pass_context
def verify(ctx: click.Context, *, full: bool, as_json: bool) -> None:
    """Check the consent log, its signed checkpoints, and the states that follow from it.

    Without --full it begins behind the last checkpoint that was found good (a short log is always
    checked as a whole). A fault is named with its position; the exit code is 4, and sign-up and
    sending stand still until a check from the first event finds none.

    \b
    newsletter consent verify && echo whole
    newsletter consent verify --full --json
    """
    with installation.opened() as here:
        try:
            report = _run(here, full=full)
        except (ConsentLogError, LogFault) as error:
            if not as_json:
                raise
            position = error.position if isinstance(error, ConsentLogError) else None
            output.emit_json({"ok": False, "fault": str(error), "position": position})
            ctx.exit(error.exit_code)
    if as_json:
        output.emit_json(_values(report))
        return
    click.echo(_sentence(report))
    if report.halted is not None and not report.full:
        click.echo(
            f"Sign-up and sending stand still all the same ({report.halted}) until this finds "
            "nothing: newsletter consent verify --full",
            err=True,
        )


def _run(here: installation.Installation, *, full: bool) -> check.Report:
    """Check, and write down what came of it."""
    keyring = consent.Keyring.of(here.settings)
    try:
        with store.reading(here.engine) as session, progress("checking events") as told:
            report = check.verify(session, keyring, full=full, progress=told)
        # A halt may have had another reason: the files beside the key know of more than the log.
        standing.check_files(here.engine, here.settings)
    except (ConsentLogError, LogFault) as error:
        with store.transaction(here.engine) as session:
            checkpoint.halt(session, str(error))
        _mend(here, keyring)
        raise
    with store.transaction(here.engine) as session:
        check.remember(session, report)
    return report


def _mend(here: installation.Installation, keyring: consent.Keyring) -> None:
    """Of all faults a missing checkpoint is the only one that can be mended by itself."""
    try:
        with store.transaction(here.engine) as session:
            is_back = checkpoint.put_back(session, keyring, now=installation.now())
    except LogFault:
        return
    if is_back:
        click.echo(f"The checkpoint in {keyring.folder} is put back; check again.", err=True)


def _values(report: check.Report) -> dict[str, object]:
    return {
        "ok": True,
        "events": report.events,
        "erased": report.erased,
        "states": report.states,
        "full": report.full,
        "from": report.start,
        "checkpoints": report.checkpoints,
        "signed": report.signed,
        "halted": report.halted is not None and not report.full,
    }


def _sentence(report: check.Report) -> str:
    since = "" if report.full else f", checked from position {report.start} on"
    return (
        f"The log verifies: {report.events} events, {report.erased} of them erased{since}; "
        f"checkpoints: {report.checkpoints}, the newest over {report.signed} events; "
        f"subscriptions: {output.cell(report.states) or 'none'}"
    )
