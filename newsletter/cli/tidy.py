"""`newsletter tidy`: what is kept no longer than the settings say, at once instead of daily."""

from __future__ import annotations

from dataclasses import asdict

import click

from newsletter import store
from newsletter.cli import installation, output
from newsletter.cli.progress import progress
from newsletter.cli.signing import check_log
from newsletter.cli.subscriber import PATIENCE, PENDING
from newsletter.store import traces
from newsletter.subscriptions import retention

_WORDS = {
    "pending_erased": "sign-ups that nobody confirmed, erased",
    "lapsed": "new requests of former readers that lapsed",
    "evidence_erased": "subscriptions whose evidence was old enough to be erased",
    "reminded": "reminders, one for each unconfirmed sign-up",
    "unreachable": "reminders that the mailbox takes no more of",
}


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what there is to do, and do nothing.")
@output.json_option
def tidy(*, dry_run: bool, as_json: bool) -> None:
    """Erase what is old enough: unconfirmed sign-ups, and the evidence of readers long gone.

    The settings pending_days, remind_pending and evidence_years say how old that is. A worker does
    the same once a day. What erased people left in the database's file is overwritten too.

    \b
    newsletter tidy --dry-run
    newsletter tidy
    """
    with installation.opened() as here:
        rules = retention.Rules.of(here.settings)
        if dry_run:
            with store.reading(here.engine) as session:
                done = retention.due(session, rules, now=installation.now())
            cleaned = traces.pending(here.engine) is None
        else:
            check_log(here)
            done = _do(here, rules)
            installation.keep_ledger(here)
            cleaned = traces.clean(here.engine, patience=PATIENCE)
    if as_json:
        output.emit_json({**asdict(done), "pending": not cleaned, "dry_run": dry_run})
        return
    for name, count in asdict(done).items():
        if count:
            click.echo(f"{count} {_WORDS[name]}")
    if not done:
        click.echo("Nothing is old enough." if dry_run else "Nothing was old enough.")
    if not cleaned:
        click.echo("The file is to be cleaned of the erased." if dry_run else PENDING, err=True)


def _do(here: installation.Installation, rules: retention.Rules) -> retention.Tally:
    done = retention.Tally()
    now = installation.now()
    with store.reading(here.engine) as session:
        total = sum(asdict(retention.due(session, rules, now=now)).values())
    with progress("tidying") as report:
        while True:
            with store.transaction(here.engine) as session:
                some = retention.piece(session, rules, hash_key=here.hash_key, now=now)
            if not some:
                return done
            done += some
            report(sum(asdict(done).values()), total)
