"""`newsletter recover`: go on with a database that is older than what was signed, sent and left.

One transaction: it works as a whole or changes nothing, and a second run goes on from there.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import click

from newsletter import consent, store
from newsletter.cli import installation, output
from newsletter.cli.progress import progress
from newsletter.cli.subscriber import PATIENCE, ask
from newsletter.consent import checkpoint
from newsletter.consent.checkpoint_format import Checkpoint
from newsletter.consent.keyring import Keyring
from newsletter.consent.ledger import Entry, Ledger, keep
from newsletter.consent.note import open_note
from newsletter.digests import plans
from newsletter.errors import BadNote, ConsentLogError, LogFault
from newsletter.sending import recover as outbox
from newsletter.sending import standing
from newsletter.store import DigestState, traces
from newsletter.subscriptions import recover as people

_ADVICE = {
    DigestState.APPROVED: (
        "it may have been sent since: newsletter send {id} sends it to everybody, "
        "newsletter digest cancel {id} to nobody"
    ),
    DigestState.PAUSED: (
        "newsletter resume {id} mails the readers who have no mail of it here, and some may have "
        "got it; newsletter digest cancel {id} ends it"
    ),
}


@dataclass(frozen=True)
class _Lost:
    """What the database lacks, as far as the files beside the key tell."""

    fault: str
    # The last signed checkpoint, as a note and read; None when none is kept.
    note: str | None
    kept: Checkpoint | None
    # The number of the log that it is of.
    log: int
    # Events in the database, and how many of those that were signed for it lacks at least.
    events: int
    missing_events: int
    entries: list[Entry]

    @property
    def values(self) -> dict[str, Any]:
        """The same for --json and for people."""
        kinds = Counter(str(each.kind) for each in self.entries)
        return {
            "fault": self.fault,
            "events": self.events,
            "missing_events": self.missing_events,
            "missing_in_ledger": dict(sorted(kinds.items())),
            "newest_in_ledger": max((each.at for each in self.entries), default=None),
        }


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask whether it is meant.")
@output.json_option
def recover(*, yes: bool, as_json: bool) -> None:
    """Go on with an older database, when the newer one is lost for good.

    Stop the service, put the backup in place, and run this. It says what is missing; erases and
    unsubscribes those again who were since the backup; makes mails uncertain that may have left;
    holds every unfinished digest and every plan for your word; and begins a new consent log, whose
    first event names what was lost. Until then nobody can sign up and nothing is sent.

    \b
    newsletter recover
    newsletter recover --yes --json
    """
    with installation.opened() as here:
        lost = _look(here)
        if lost is None:
            if as_json:
                output.emit_json({"recovered": False})
            else:
                click.echo("Nothing is missing: the database is the one that was here last.")
            return
        if not as_json:
            _say_lost(lost)
        _check_sound(here)
        ask("Go on with this database, and give up what it lacks?", yes=yes)
        done = _recover(here, lost)
    if as_json:
        output.emit_json({"recovered": True, **lost.values, **done})
    else:
        _say_done(done)


def _look(here: installation.Installation) -> _Lost | None:
    """What is missing; None when nothing is.

    Raises LogFault for a fault that is no matter of age, ConfigError without a signing key.
    """
    keyring = Keyring.of(here.settings)
    fault = _fault(here, keyring)
    if fault is None:
        with store.reading(here.engine) as session:
            checkpoint.guard(session, keyring)  # another fault is told with its own cure
        return None
    name = keyring.signer.name  # without a key the new log could not be signed
    note = keyring.last_checkpoint()
    kept, number = None, 0
    if note is not None:
        try:
            kept = Checkpoint.parse(open_note(note, keyring.verifiers))
        except BadNote:
            raise fault from None
        number = _number(kept.origin, name)
    with store.reading(here.engine) as session:
        today = session.get_one(store.Installation, 1)
        is_same = kept is not None and number == today.log_number
        missing = max(0, kept.size - today.log_size) if kept and is_same else 0
        entries = list(Ledger.of(here.settings).missing(session))
    return _Lost(str(fault), note, kept, number, today.log_size, missing, entries)


def _fault(here: installation.Installation, keyring: Keyring) -> LogFault | None:
    try:
        with store.reading(here.engine) as session:
            checkpoint.compare(session, keyring)
        standing.check_files(here.engine, here.settings)
    except LogFault as fault:
        return fault
    return None


def _number(origin: str, name: str) -> int:
    """Which of the logs under this name an origin says: name, name/2, name/3 ..."""
    if origin == name:
        return 1
    digits = origin.removeprefix(f"{name}/")
    if digits == origin or not digits.isdecimal():
        raise LogFault(
            f"The last checkpoint is of the log {origin}, and the signing key is of {name}: put "
            "the folder of the key back from its backup, as a whole."
        )
    return int(digits)


def _check_sound(here: installation.Installation) -> None:
    """A recovery goes on with an older log, never with a damaged one."""
    try:
        with store.reading(here.engine) as session, progress("checking events") as report:
            consent.verify(session, progress=report)
    except ConsentLogError as error:
        raise LogFault(
            f"This database is damaged beside being old: {error}. Put a sound backup in its place."
        ) from error


def _recover(here: installation.Installation, lost: _Lost) -> dict[str, Any]:
    now = installation.now()
    ledger = Ledger.of(here.settings)
    with store.transaction(here.engine) as session:
        position = consent.record_recovery(
            session,
            kept=lost.note or "",
            found=checkpoint.newest(session) or "",
            after=lost.log,
            now=now,
        )
        applied = people.apply(session, lost.entries, hash_key=here.hash_key, now=now)
        keep(session, lost.entries)
        held = outbox.hold(session, now=now)
        off = [each.id for each in plans.hold_all(session, now=now)]
        digests = [
            {"id": each.id, "subject": each.subject, "state": str(each.state)}
            for each in held.digests
        ]
        log = session.get_one(store.Installation, 1, populate_existing=True).log_number
    with store.transaction(here.engine) as session:
        note = checkpoint.sign(session, Keyring.of(here.settings), now=now)
    ledger.catch_up(here.engine)
    return {
        "position": position,
        "log": log,
        "checkpoint": note,
        "again": asdict(applied),
        "uncertain": held.uncertain,
        "digests": digests,
        "plans": off,
        "pending": not traces.clean(here.engine, patience=PATIENCE),
    }


def _say_lost(lost: _Lost) -> None:
    click.echo(lost.fault)
    click.echo(f"In the database: {lost.events} events.")
    if lost.missing_events:
        click.echo(f"Missing: {lost.missing_events} events that were signed for, perhaps more.")
    kinds = lost.values["missing_in_ledger"]
    newest = lost.values["newest_in_ledger"]
    if kinds:
        click.echo(
            f"Of the ledger, up to {output.moment(newest)}: {output.cell(kinds)}. "
            "This will be done again."
        )
    click.echo(
        "Sign-ups, confirmations, articles and digests since the backup are gone: whoever signed "
        "up since does so anew."
    )


def _say_done(done: dict[str, Any]) -> None:
    again = {name: count for name, count in done["again"].items() if count}
    click.echo(f"Done again: {output.cell(again) or 'nothing'}")
    click.echo(f"Mails that may have left, now uncertain: {done['uncertain']}")
    for each in done["digests"]:
        advice = _ADVICE[DigestState(each["state"])].format(id=each["id"])
        click.echo(
            f"Digest {each['id']} ({output.clean(each['subject'])}) is {each['state']}: {advice}"
        )
    for number in done["plans"]:
        click.echo(
            f"Plan {number} is off: what it composed since is not known here. To go on with it: "
            f"newsletter plan edit {number} --on"
        )
    click.echo(f"A new consent log begins, number {done['log']}. Check it, and start the service:")
    click.echo("newsletter consent verify --full")
