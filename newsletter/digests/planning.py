"""A plan's time has come: what is new becomes a digest, once for each time.

First somebody takes the plan, so that others leave it alone while its feeds are asked; then one
transaction composes the digest, notes the time in it, and sets the plan to its next time. Whatever
breaks before that transaction's end has done nothing, and the time is done later; after it, the
unique key of plan and time stands against a second digest. Times that were missed are one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from babel.dates import format_date
from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from newsletter.digests import approve, choose, compose, plans, summary
from newsletter.digests.answer import without_sign
from newsletter.digests.arrange import AUTO, Arrangement
from newsletter.digests.check import NotFit
from newsletter.digests.plans import PLACEHOLDERS
from newsletter.digests.schedule import Schedule
from newsletter.errors import NewsletterError
from newsletter.i18n import locale_of
from newsletter.store import Article, Digest, DigestState, Feed, Plan

# Asking a hundred feeds takes a few minutes at worst; who is at it longer is taken for dead.
_TAKEN_FOR = timedelta(minutes=15)
# What went wrong may be mended by then.
_AGAIN_AFTER = timedelta(hours=1)
# A feed that was asked so lately need not be asked again.
_FRESH = timedelta(minutes=5)
_LONGEST_OUTCOME = 500
_MOST_NAMED = 5
_IN_BRACES = re.compile(rf"\{{({'|'.join(PLACEHOLDERS)})\}}")

Result = Literal["composed", "waiting", "done before"]


@dataclass(frozen=True)
class Task:
    """A plan that was taken, and the time that it is taken for; None: one by hand, beside those."""

    plan_id: int
    planned_for: datetime | None


@dataclass(frozen=True)
class Done:
    """What came of it. digest: the draft, or None. found: how many articles were new.

    left: how many of them are over the plan's maximum. waiting: earlier digests of a plan that
    sends which are drafts still.
    """

    result: Result
    digest: Digest | None = None
    found: int = 0
    left: int = 0
    waiting: tuple[int, ...] = ()


def take(session: Session, *, now: datetime) -> Task | None:
    """The plan that is due for the longest time, for the caller alone; None when none is due."""
    query = (
        select(Plan)
        .where(Plan.next_at <= now, _is_free(now))
        .order_by(Plan.next_at, Plan.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    plan = session.scalars(query).one_or_none()
    if plan is None:
        return None
    plan.taken_until = now + _TAKEN_FOR
    session.flush()
    return Task(plan.id, plan.next_at)


def take_by_hand(session: Session, plan: Plan, *, now: datetime) -> Task:
    """The same with this plan, due or not; its next time is only touched when it is due."""
    session.flush()
    session.refresh(plan, with_for_update={"of": Plan})
    if plan.next_at is None or plan.next_at > now:
        return Task(plan.id, None)
    plan.taken_until = now + _TAKEN_FOR
    session.flush()
    return Task(plan.id, plan.next_at)


def give_back(session: Session, task: Task) -> None:
    """Leave a plan that was taken to others, at once."""
    plan = session.get(Plan, task.plan_id, with_for_update={"of": Plan}, populate_existing=True)
    if plan is not None and plan.next_at == task.planned_for:
        plan.taken_until = None
        session.flush()


def feeds_to_ask(
    session: Session,
    task: Task,
    *,
    besides: Sequence[int] = (),
    most: int = 8,
    now: datetime,
    every: timedelta,
) -> list[Feed]:
    """Some of the feeds that the plan takes from and that are to be asked for it.

    Not those that were asked just now, those that keep failing and are not due, and `besides`.
    every: how long until their next turn, which is noted at once: nobody else gets them meanwhile.
    """
    plan = session.get(Plan, task.plan_id)
    if plan is None:
        return []
    is_stale = func.coalesce(Feed.checked_at, Feed.created_at) <= now - _FRESH
    query = select(Feed).where(
        Feed.publication_id == plan.publication_id,
        Feed.id.not_in(list(besides)),
        or_(Feed.due_at <= now, and_(Feed.due_at.is_not(None), Feed.failures == 0, is_stale)),
    )
    if plan.feeds:
        query = query.where(Feed.id.in_([feed.id for feed in plan.feeds]))
    # Not skipping what is locked: who has it may not have asked yet, and it would be missed.
    query = query.order_by(Feed.id).limit(most).with_for_update(of=Feed)
    found = list(session.scalars(query))
    for feed in found:
        feed.due_at = now + every
    session.flush()
    return found


def find_new(session: Session, plan: Plan) -> choose.Chosen:
    """The articles that `plan` would take now, the newest first."""
    wanted = choose.Wanted(
        only_new=True,
        since=_since(session, plan),
        published_since=plan.begins_at,
        tags=plan.tags,
        feeds=[feed.id for feed in plan.feeds],
        most=plan.most,
    )
    return choose.find(session, plan.publication, wanted)


def carry_out(session: Session, task: Task, *, now: datetime) -> Done:
    """Compose what is new, if it is enough, and set the plan to its next time.

    The result is "waiting" when it was not enough: the articles are there the next time. It is
    "done before" when the plan is gone, was switched off, or somebody else did this time.
    """
    plan = session.get(Plan, task.plan_id, with_for_update={"of": Plan}, populate_existing=True)
    if plan is None or (task.planned_for is not None and plan.next_at != task.planned_for):
        return Done("done before")
    planned_for = task.planned_for or now
    if task.planned_for is not None:
        plan.taken_until = None
        plan.next_at = Schedule.read(plan.schedule).after(max(now, planned_for))
        if _has_digest(session, plan, planned_for):
            return Done("done before")
    chosen = find_new(session, plan)
    found = len(chosen.articles) + chosen.left
    plan.done_at = now
    waiting = tuple(plans.waiting(session, plan))
    if found < plan.fewest:
        some = f"{found} new of at least {plan.fewest}: they wait" if found else "nothing new"
        plan.outcome = f"{some}{_and_waiting(waiting)}"
        session.flush()
        return Done("waiting", found=found, waiting=waiting)
    digest = _compose(session, plan, chosen.articles, planned_for, now)
    digest.plan_id, digest.planned_for = plan.id, planned_for
    some = f"digest {digest.id}, {_articles(len(digest.entries))}"
    plan.outcome = f"{some}{_and_waiting(waiting)}"
    session.flush()
    return Done("composed", digest, found, chosen.left, waiting)


def send_out(
    session: Session,
    digest: Digest,
    *,
    base_url: str,
    checkpoint: str | None,
    templates_folder: str | None,
    demand: Callable[[Digest], None],
    now: datetime,
) -> str | None:
    """Approve what a plan composed, to be sent at once by whoever sends; why not, if not.

    It stays a draft then, and the plan's outcome says why. base_url, checkpoint, templates_folder:
    as approving takes them. demand: raises one of our errors when what was approved is not fit to
    be sent.
    """
    try:
        with session.begin_nested():
            approve.approve(
                session,
                digest,
                base_url=base_url,
                now=now,
                checkpoint=checkpoint,
                templates_folder=templates_folder,
            )
            demand(digest)
            digest.send_at = now
    except NewsletterError as error:
        plan = session.get_one(Plan, digest.plan_id)
        problem = error.told_elsewhere if isinstance(error, NotFit) else str(error)
        others = [each for each in plans.waiting(session, plan) if each != digest.id]
        told = f"digest {digest.id} stays a draft: {problem}"
        plan.outcome = f"{told[:_LONGEST_OUTCOME]}{_and_waiting(others)}"
        session.flush()
        return problem
    return None


def failed(session: Session, task: Task, problem: str, *, now: datetime) -> None:
    """Note that nothing could be composed; it is tried again in an hour.

    problem: why, for the operator.
    """
    plan = session.get(Plan, task.plan_id, with_for_update={"of": Plan}, populate_existing=True)
    if plan is None or plan.next_at != task.planned_for:
        return
    plan.taken_until = now + _AGAIN_AFTER
    plan.done_at, plan.outcome = now, f"failed: {problem}"[:_LONGEST_OUTCOME]
    session.flush()


def _is_free(now: datetime) -> Any:
    return or_(Plan.taken_until.is_(None), Plan.taken_until <= now)


def _since(session: Session, plan: Plan) -> datetime:
    """From when on an article is new to `plan`.

    What was over the maximum of a digest has one more chance in the next one; after that it is
    old. So the mark is the last digest but one. It also lies so far back that nothing falls
    between two digests that was on its way into the database while the first was composed.
    """
    query = (
        select(Digest.created_at)
        .where(Digest.plan_id == plan.id, Digest.state != DigestState.CANCELLED)
        .order_by(Digest.id.desc())
        .offset(1)
        .limit(1)
    )
    return max(session.scalar(query) or plan.begins_at, plan.begins_at)


def _has_digest(session: Session, plan: Plan, planned_for: datetime) -> bool:
    query = select(Digest.id).where(Digest.plan_id == plan.id, Digest.planned_for == planned_for)
    return session.scalar(query) is not None


def _compose(
    session: Session, plan: Plan, articles: list[Article], planned_for: datetime, now: datetime
) -> Digest:
    publication = plan.publication
    by: Any = plan.sections
    sections = choose.grouped(session, publication, articles, by, tags=plan.tags) if by else []
    digest = compose.new(
        session,
        publication,
        article_ids=[article.id for article in articles],
        intro=plan.intro,
        outro=plan.outro,
        length=plan.length,
        arrangement=Arrangement(sections=sections, lead=AUTO if plan.has_lead else None),
        now=now,
    )
    if plan.subject is not None:
        digest.subject = _subject(session, plan, digest, planned_for)
    return digest


def _subject(session: Session, plan: Plan, digest: Digest, planned_for: datetime) -> str:
    publication = plan.publication
    day = planned_for.astimezone(ZoneInfo(Schedule.read(plan.schedule).zone)).date()
    others = (
        select(func.count())
        .select_from(Digest)
        .where(Digest.publication_id == publication.id, Digest.state != DigestState.CANCELLED)
    )
    values = {
        "date": format_date(day, "long", locale=locale_of(publication.language)),
        # No mail was answered: the gate takes the sign of an answer for a trick.
        "lead": without_sign(digest.entries[0].article.title),
        "number": str(session.scalar(others)),
        "count": str(len(digest.entries)),
    }
    subject = _IN_BRACES.sub(lambda found: values[found[1]], plan.subject or "")
    return summary.cut(subject, limit=compose.MAX_SUBJECT)


def _and_waiting(digests: Sequence[int]) -> str:
    if not digests:
        return ""
    some = ", ".join(map(str, digests[:_MOST_NAMED]))
    more = f" and {len(digests) - _MOST_NAMED} more" if len(digests) > _MOST_NAMED else ""
    verb = "digest {} is a draft" if len(digests) == 1 else "digests {} are drafts"
    first = f"newsletter digest check {digests[0]}"
    return f"; {verb.format(some + more)} still and not sent: {first}"


def _articles(number: int) -> str:
    return "1 article" if number == 1 else f"{number} articles"
