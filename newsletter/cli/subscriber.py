"""`newsletter subscriber`: who subscribed, and what an operator does on their behalf."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import click
from sqlalchemy.orm import Session

from newsletter import consent, store
from newsletter.addresses import Address, parse
from newsletter.cli import installation, output
from newsletter.cli.exporting import export
from newsletter.cli.group import NounGroup
from newsletter.cli.importing import import_
from newsletter.errors import NotFound
from newsletter.store.find import subscriber_by_key, suppressions
from newsletter.subscriptions import blocks, exporting, leave, preferences, publications
from newsletter.subscriptions.erase import clean, forget

_STATES = ("pending", "confirmed", "unsubscribed", "bounced", "complained")

publication_option = click.option(
    "--publication", "slug", metavar="SLUG", help="Only this publication; without it, all."
)
# Seconds for getting the file of a busy database to oneself.
PATIENCE = 10
PENDING = (
    "Pending: the database is being read, and its file may hold traces until then. The worker "
    "cleans it as soon as it can; newsletter tidy does too."
)
_yes_option = click.option("--yes", is_flag=True, help="Do not ask whether it is meant.")


@click.group(cls=NounGroup)
def subscriber() -> None:
    """Who subscribed: list, look up, take out, bring in."""


subscriber.add_command(import_)
subscriber.add_command(export)


@subscriber.command("list")
@publication_option
@click.option("--state", type=click.Choice(_STATES), help="Only subscriptions in this state.")
@output.json_option
def list_(*, slug: str | None, state: str | None, as_json: bool) -> None:
    """List the subscriptions, one a line.

    \b
    newsletter subscriber list --publication field-notes --state confirmed
    """
    columns = ["email", "name", "publication", "state", "created_at"]
    with installation.opened() as here, store.reading(here.engine) as session:
        wanted = publications.find(session, slug) if slug else None
        with output.closed(exporting.rows(session, wanted)) as rows:
            output.emit_table(
                (_moments(row) for row in rows if state is None or row["state"] == state),
                columns,
                as_json=as_json,
                nothing="There is no such subscription.",
            )


def _moments(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with times as times, and None for what is not there."""
    return {
        name: datetime.fromisoformat(value) if value and name.endswith("_at") else (value or None)
        for name, value in row.items()
    }


@subscriber.command()
@click.argument("address")
@output.json_option
def show(*, address: str, as_json: bool) -> None:
    """Show all that is kept of one person, and whether their mailbox is suppressed.

    With --json it is the whole of it, as the person may ask for (GDPR Art. 15).

    \b
    newsletter subscriber show ada@example.net
    """
    parsed = parse(address)
    with installation.opened() as here, store.reading(here.engine) as session:
        suppressed = _suppressed(session, parsed, here.hash_key)
        found = subscriber_by_key(session, parsed.key)
        if found is None and not suppressed:
            raise NotFound("No subscriber has this address, and it is not suppressed.")
        kept = preferences.everything(session, found.public_id) if found else {}
    if as_json:
        output.emit_json(
            {
                "subscriber": kept.get("subscriber"),
                "subscriptions": kept.get("subscriptions", []),
                "consent_events": kept.get("consent_events", []),
                "mails": kept.get("mails", []),
                "suppressed": suppressed,
            }
        )
        return
    _show(kept, suppressed)


def _show(kept: dict[str, Any], suppressed: list[str]) -> None:
    output.emit_record(
        {**kept.get("subscriber", {"address": "(not kept)"}), "suppressed": suppressed or "no"},
        as_json=False,
    )
    if kept:
        click.echo()
        columns = ["publication", "state", "created_at", "confirmed_at", "ended_at"]
        nothing = "No subscription."
        rows = [_moments(row) for row in kept["subscriptions"]]
        output.emit_table(rows, columns, as_json=False, nothing=nothing)
        click.echo(
            f"{len(kept['consent_events'])} consent events (newsletter consent log ADDRESS), "
            f"{len(kept['mails'])} mails"
        )


def _suppressed(session: Session, address: Address, hash_key: bytes) -> list[str]:
    """Why the address's mailbox must not be mailed; empty when it may be."""
    name = address.mailbox_hash(hash_key)
    return sorted(suppressions(session, [name]).get(name, set()))


@subscriber.command()
@click.argument("address")
@publication_option
@_yes_option
@output.json_option
def unsubscribe(*, address: str, slug: str | None, yes: bool, as_json: bool) -> None:
    """End a person's subscriptions, at their word.

    \b
    newsletter subscriber unsubscribe ada@example.net
    newsletter subscriber unsubscribe ada@example.net --publication field-notes --yes
    """
    parsed = parse(address)
    with installation.opened() as here:
        with store.reading(here.engine) as session:
            if slug is not None:
                publications.find(session, slug)
        ask(f"Unsubscribe {parsed.spelling} from {slug or 'everything'}?", yes=yes)
        evidence = consent.Evidence(actor="operator", channel="command")
        with store.transaction(here.engine) as session:
            ended = leave.by_operator(
                session,
                parsed.key,
                slug,
                evidence,
                hash_key=here.hash_key,
                now=installation.now(),
            )
        installation.keep_ledger(here)
    if as_json:
        output.emit_json({"unsubscribed": ended})
    else:
        click.echo(f"Subscriptions ended: {ended}")


@subscriber.command()
@click.argument("address")
@_yes_option
@output.json_option
def erase(*, address: str, yes: bool, as_json: bool) -> None:
    """Destroy all that is kept of a person (GDPR Art. 17). It cannot be undone.

    The consent log still verifies afterwards, and the mailbox stays suppressed for imports under a
    keyed hash. Backups that you made keep the person until you overwrite them; the ledger beside
    the signing key has newsletter recover erase them again when one is put back.

    \b
    newsletter subscriber erase ada@example.net
    """
    parsed = parse(address)
    with installation.opened() as here:
        with store.reading(here.engine) as session:
            if subscriber_by_key(session, parsed.key) is None:
                raise NotFound("No subscriber has this address.")
        ask(f"Destroy all that is kept of {parsed.spelling}, for ever?", yes=yes)
        evidence = consent.Evidence(actor="operator", channel="command")
        with store.transaction(here.engine) as session:
            found = subscriber_by_key(session, parsed.key)
            if found is not None:
                now = installation.now()
                forget(session, found, evidence, hash_key=here.hash_key, now=now)
        installation.keep_ledger(here)
        cleaned = clean(here.engine, patience=PATIENCE)
    if as_json:
        output.emit_json({"erased": found is not None, "pending": not cleaned})
        return
    click.echo("Erased.")
    if not cleaned:
        click.echo(PENDING, err=True)


@subscriber.command()
@click.argument("address")
@click.option(
    "--note", required=True, metavar="TEXT", help="Who asked for it; it goes into the consent log."
)
@output.json_option
def unblock(*, address: str, note: str, as_json: bool) -> None:
    """Let a mailbox sign up again that was blocked, bounced or complained.

    Nobody is subscribed by it: the person signs up and confirms anew.

    \b
    newsletter subscriber unblock ada@example.net --note 'she wrote to us on 1 March'
    """
    parsed = parse(address)
    evidence = consent.Evidence(actor="operator", channel="command", note=note)
    with installation.opened() as here, store.transaction(here.engine) as session:
        now = installation.now()
        lifted = blocks.lift(session, parsed, evidence, hash_key=here.hash_key, now=now)
    if not lifted:
        raise NotFound("This mailbox is not blocked.")
    if as_json:
        output.emit_json({"unblocked": lifted})
    else:
        click.echo(f"Unblocked: {output.cell(lifted)}")


def ask(question: str, *, yes: bool) -> None:
    """Ask before what cannot be taken back; a script says --yes instead."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("Nobody is here to be asked: add --yes if it is meant.")
    click.confirm(output.clean(question), abort=True, err=True)
