"""`newsletter plan`: digests that are composed by themselves, again and again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from newsletter import logs, store
from newsletter.cli import composing, fitness, installation, output
from newsletter.cli.group import NounGroup
from newsletter.cli.naming import ID
from newsletter.cli.signing import signed
from newsletter.digests import planning, plans
from newsletter.digests.arrange import AUTO, NONE
from newsletter.store import Plan
from newsletter.subscriptions import publications
from newsletter.worker.newsroom import Newsroom, Report

Command = TypeVar("Command", bound=Callable[..., None])

_WHEN = (
    "When, as '[daily|weekly|monthly], DAY HH:MM ZONE': 'weekly, Monday 08:00 Europe/Berlin', "
    "'daily, 07:30 UTC', 'monthly, last 18:00 UTC', 'monthly, first Monday 08:00 UTC'."
)
_plan_argument = click.argument("plan_id", metavar="ID", type=ID)


def _options(command: Command) -> Command:
    """What `add` and `edit` share."""
    options = (
        click.option(
            "--min",
            "fewest",
            type=click.IntRange(1),
            metavar="N",
            help="With fewer new articles they wait for the next time (1).",
        ),
        composing.filters,
        click.option(
            "--lead",
            type=click.Choice([AUTO, NONE]),
            help="auto: the newest article with a picture comes first and large.",
        ),
        composing.length_option,
        click.option(
            "--subject",
            metavar="TEXT",
            help="The subject, with {date}, {lead} (the first title), {number} (of the digest) or "
            "{count} (of articles) in it; without it, made of the titles.",
        ),
        composing.words,
        click.option(
            "--send/--draft",
            "sends",
            default=None,
            help="Send it straight out, or leave a draft for approval (draft).",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group(cls=NounGroup)
def plan() -> None:
    """Digests that are composed by themselves: when, and of which articles."""


@plan.command()
@click.option("--publication", "slug", required=True, metavar="SLUG", help="Whose readers get it.")
@click.option("--when", required=True, metavar="SCHEDULE", help=_WHEN)
@_options
@output.json_option
def add(*, slug: str, when: str, as_json: bool, **options: Any) -> None:
    """Compose what is new at these times, from the next one on. Its id is the last word.

    A worker does it: newsletter serve, or newsletter worker. It reads the publication's feeds
    first. An article that stands in another digest of the publication is not new; when nothing is,
    nothing is composed. A time that was missed is made up for once.

    \b
    newsletter plan add --publication field-notes --when 'weekly, Monday 08:00 Europe/Berlin' \\
        --min 3 --draft
    newsletter plan add --publication field-notes --when 'monthly, 1 09:00 UTC' --tag birds \\
        --group-by feed --lead auto --subject 'Birds, {date}' --send
    """
    with installation.opened() as here, store.transaction(here.engine) as session:
        publication = publications.find(session, slug)
        made = plans.add(session, publication, when, now=installation.now(), **_given(options))
        told = _record(made)
    if as_json:
        output.emit_json(told)
        return
    click.echo(f"{made.schedule}; next on {output.moment(made.next_at)}")
    click.echo(f"Added the plan {made.id}")


@plan.command("list")
@click.option("--publication", "slug", metavar="SLUG", help="Only of this publication.")
@output.json_option
def list_(*, slug: str | None, as_json: bool) -> None:
    """List the plans, with their next time and what came of the last one.

    waiting: the digests of a plan with --send that are drafts, since they are not fit to be sent.

    \b
    newsletter plan list
    """
    with installation.opened() as here, store.reading(here.engine) as session:
        wanted = publications.find(session, slug).id if slug else None
        output.emit_table(
            [
                _record(each) | {"waiting": plans.waiting(session, each)}
                for each in plans.all_of(session, wanted)
            ],
            ["id", "publication", "schedule", "next_at", "sends", "waiting", "done_at", "outcome"],
            as_json=as_json,
            nothing="There is no plan yet: newsletter plan add --help",
        )


@plan.command()
@_plan_argument
@click.option("--when", metavar="SCHEDULE", help=_WHEN)
@_options
@click.option("--on/--off", "is_on", default=None, help="Hold the plan, and go on with it.")
@output.json_option
def edit(*, plan_id: int, when: str | None, as_json: bool, **options: Any) -> None:
    """Change a plan; what is not named stays as it is.

    An empty text ('') takes subject, intro or outro away, --tag '' stands for all tags, --feed 0
    for all feeds. Times that passed while it was off are not made up for.

    \b
    newsletter plan edit 2 --when 'weekly, Friday 17:00 Europe/Berlin' --min 5
    newsletter plan edit 2 --off
    """
    changes = _given(options) | ({} if when is None else {"when": when})
    if not changes:
        raise click.UsageError("Name what to change, such as --when.")
    with installation.opened() as here, store.transaction(here.engine) as session:
        changed = plans.find(session, plan_id)
        plans.edit(session, changed, now=installation.now(), **changes)
        told = _record(changed)
    if as_json:
        output.emit_json(told)
        return
    next_one = f"next on {output.moment(changed.next_at)}" if changed.next_at else "off"
    click.echo(f"Changed the plan {plan_id}: {changed.schedule}; {next_one}")


@plan.command()
@_plan_argument
def remove(*, plan_id: int) -> None:
    """Remove a plan; what it composed stays.

    \b
    newsletter plan remove 2
    """
    with installation.opened() as here, store.transaction(here.engine) as session:
        plans.remove(session, plans.find(session, plan_id))
    click.echo(f"Removed the plan {plan_id}")


@plan.command()
@_plan_argument
@click.option("--dry-run", is_flag=True, help="Show which articles it would take, and do nothing.")
@output.json_option
@click.pass_context
def run(ctx: click.Context, *, plan_id: int, dry_run: bool, as_json: bool) -> None:
    """Carry a plan out now: read the feeds, and compose what is new, if it is enough.

    Its next time stays as it is, unless it is due already. The id of the digest is the last word;
    one that goes straight out is sent by a worker. Exit code 8 when one that was to go straight out
    is not fit to be sent, this one or an earlier one that is a draft still.

    \b
    newsletter plan run 2 --dry-run
    newsletter plan run 2
    """
    with installation.opened() as here:
        if dry_run:
            _say_new(here, plan_id, as_json=as_json)
            return
        logs.configure_beside_a_person(here.settings.log_level)
        with store.reading(here.engine) as session:
            sends = plans.find(session, plan_id).sends
        if sends:
            signed(here)
        with store.transaction(here.engine) as session:
            found = plans.find(session, plan_id)
            task = planning.take_by_hand(session, found, now=installation.now())
        report = Newsroom(here.engine, here.settings, clock=installation.now).carry_out(task)
    if report is None:
        raise click.ClickException("The consent log has a fault. See: newsletter consent verify")
    if as_json:
        output.emit_json(_reported(plan_id, report))
    else:
        _say_report(plan_id, report)
    if report.problem is not None or report.done.waiting:
        ctx.exit(fitness.NOT_FIT)


def _say_new(here: installation.Installation, plan_id: int, *, as_json: bool) -> None:
    # Choosing locks the publication, which a session that only reads cannot.
    with store.transaction(here.engine) as session:
        found = plans.find(session, plan_id)
        chosen = planning.find_new(session, found)
        fewest = found.fewest
        rows = [{"id": each.id, "title": each.title, "url": each.url} for each in chosen.articles]
    if as_json:
        output.emit_json({"plan": plan_id, "min": fewest, "left": chosen.left, "articles": rows})
        return
    output.emit_table(rows, ["id", "title", "url"], as_json=False, nothing="Nothing is new.")
    if 0 < len(rows) < fewest:
        click.echo(f"Note: it waits until there are {fewest}.", err=True)
    if chosen.left:
        click.echo(f"Note: {chosen.left} more are over its maximum.", err=True)


def _say_report(plan_id: int, report: Report) -> None:
    for look in report.looks:
        if look.problem:
            click.echo(f"Note: feed {look.feed_id}: {output.clean(look.problem)}", err=True)
    for number in report.done.waiting:
        click.echo(
            f"Note: digest {number} is a draft still, and not sent: "
            f"newsletter digest check {number}",
            err=True,
        )
    digest, found = report.done.digest, report.done.found
    if digest is None:
        counted = "article is new" if found == 1 else "articles are new"
        told = f"only {found} {counted}" if found else "nothing is new"
        click.echo(f"Plan {plan_id} composed nothing: {told}.")
        return
    click.echo(f"Subject: {output.clean(digest.subject)}")
    if report.problem is not None:
        click.echo(f"Note: not approved: {output.clean_lines(report.problem)}", err=True)
    click.echo(
        f"Composed the digest {digest.id}, {digest.state}: newsletter digest show {digest.id}"
    )


def _reported(plan_id: int, report: Report) -> dict[str, Any]:
    digest = report.done.digest
    return {
        "plan": plan_id,
        "result": report.done.result,
        "digest": digest.id if digest else None,
        "state": digest.state if digest else None,
        "new": report.done.found,
        "left": report.done.left,
        "problem": report.problem,
        "waiting": list(report.done.waiting),
        "failed_feeds": [look.feed_id for look in report.looks if look.problem],
    }


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were named, as the story calls them."""
    given = {name: value for name, value in options.items() if value is not None}
    if not given.get("tags"):
        given.pop("tags", None)
    feeds = given.pop("feeds", ())
    if feeds:
        given["feeds"] = [number for number in feeds if number]
    if "lead" in given:
        given["has_lead"] = given.pop("lead") == AUTO
    if "grouping" in given:
        grouping = given.pop("grouping")
        given["sections"] = None if grouping == NONE else grouping
    return given


def _record(each: Plan) -> dict[str, Any]:
    return {
        "id": each.id,
        "publication": each.publication.slug,
        "schedule": each.schedule,
        "next_at": each.next_at,
        "sends": each.sends,
        "min": each.fewest,
        "max": each.most,
        "tags": each.tags,
        "feeds": [feed.id for feed in each.feeds],
        "lead": each.has_lead,
        "group_by": each.sections,
        "length": each.length,
        "subject": each.subject,
        "intro": each.intro,
        "outro": each.outro,
        "created_at": each.created_at,
        "done_at": each.done_at,
        "outcome": each.outcome,
    }
