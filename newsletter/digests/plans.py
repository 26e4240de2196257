"""Plans: made and changed by operators, found by their number."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, get_args

from sqlalchemy import select, update
from sqlalchemy.orm import Session, joinedload

from newsletter.digests import choose, compose
from newsletter.digests.schedule import Schedule
from newsletter.errors import BadInput, NotFound
from newsletter.store import Digest, DigestState, Feed, Plan, Publication

# What the subject of a plan may have in braces; see planning.subject.
PLACEHOLDERS = ("date", "lead", "number", "count")
MAX_ARTICLES = 200
_IN_BRACES = re.compile(r"\{([^{}]*)\}")


def add(
    session: Session,
    publication: Publication,
    when: str,
    *,
    now: datetime,
    fewest: int = 1,
    most: int = choose.MOST,
    tags: Sequence[str] = (),
    feeds: Sequence[int] = (),
    length: str = "auto",
    has_lead: bool = False,
    sections: str | None = None,
    subject: str | None = None,
    intro: str | None = None,
    outro: str | None = None,
    sends: bool = False,
) -> Plan:
    """Compose what is new in `publication` at the times that `when` says, from the next one on.

    when: as Schedule.read has it. fewest, most: articles. tags, feeds: only articles with one of
        these tags, only what these feeds brought; all when empty. length: see compose.Length.
        has_lead: the newest article with a picture comes first and large. sections: "feed", "tag"
        or None. subject: with {date}, {lead}, {number} or {count} in it, or None for one that is
        made of the articles. intro, outro: Markdown. sends: straight out, without an approval.

    The first digest has what is new since the time before, as if the plan had been there then.

    Raises BadInput with the option that is wrong.
    """
    plan = Plan(publication=publication, created_at=now)
    _set(
        session,
        plan,
        {
            "fewest": fewest,
            "most": most,
            "tags": tags,
            "feeds": feeds,
            "length": length,
            "has_lead": has_lead,
            "sections": sections,
            "subject": subject,
            "intro": intro,
            "outro": outro,
            "sends": sends,
        },
    )
    schedule = Schedule.read(when)
    plan.schedule = str(schedule)
    plan.begins_at, plan.next_at = schedule.latest(now), schedule.after(now)
    session.add(plan)
    session.flush()
    return plan


def edit(session: Session, plan: Plan, *, now: datetime, **changes: Any) -> None:
    """Change a plan; what is not named stays as it is.

    changes: any of what `add` takes, and `is_on`: False holds the plan until True. An empty text
    takes subject, intro, outro or sections away; empty tags or feeds stand for all.

    Times that passed while it was off, or that an earlier schedule had, are not made up for. One
    that waits after a failure is tried again at once.

    Raises BadInput with the option that is wrong.
    """
    session.flush()
    session.refresh(plan, with_for_update={"of": Plan})
    when: str | None = changes.pop("when", None)
    is_on: bool | None = changes.pop("is_on", None)
    _set(session, plan, changes)
    plan.taken_until = None
    if when is not None:
        plan.schedule = str(Schedule.read(when))
    if is_on is False:
        plan.next_at = None
    elif is_on or (when is not None and plan.next_at is not None):
        plan.next_at = _next(session, plan, now)
    session.flush()


def find(session: Session, plan_id: int) -> Plan:
    """The plan of that number. Raises NotFound."""
    plan = session.get(Plan, plan_id)
    if plan is None:
        raise NotFound(f"There is no plan {plan_id}: newsletter plan list shows them.")
    return plan


def waiting(session: Session, plan: Plan) -> list[int]:
    """The digests of a plan that sends which are drafts, since something kept them from going out.

    Their numbers, the oldest first; none when the plan leaves drafts for approval anyway.
    """
    if not plan.sends:
        return []
    query = select(Digest.id).where(Digest.plan_id == plan.id, Digest.state == DigestState.DRAFT)
    return list(session.scalars(query.order_by(Digest.id)))


def all_of(session: Session, publication_id: int | None = None) -> list[Plan]:
    """The plans in the order in which they were added; of one publication or of all."""
    query = select(Plan).options(joinedload(Plan.publication)).order_by(Plan.id)
    if publication_id is not None:
        query = query.where(Plan.publication_id == publication_id)
    return list(session.scalars(query))


def remove(session: Session, plan: Plan) -> None:
    """Forget a plan; what it composed stays."""
    session.flush()
    session.refresh(plan, with_for_update={"of": Plan})
    own = update(Digest).where(Digest.plan_id == plan.id)
    session.execute(own.values(plan_id=None, planned_for=None))
    plan.feeds.clear()
    session.flush()
    session.delete(plan)
    session.flush()


def hold_all(session: Session, *, now: datetime) -> list[Plan]:
    """Switch off every plan, in a database that may not know what was sent; those that were on.

    Switched on again, they begin anew: what feeds date before now is not new to them.
    """
    plans = list(session.scalars(select(Plan).order_by(Plan.id).with_for_update()))
    held = [plan for plan in plans if plan.next_at is not None]
    for plan in plans:
        plan.next_at, plan.begins_at = None, now
    session.flush()
    return held


def _next(session: Session, plan: Plan, now: datetime) -> datetime:
    """Its next time; never one that has a digest, even if the clock was turned back."""
    newest = select(Digest.planned_for).where(Digest.plan_id == plan.id)
    done = session.scalar(newest.order_by(Digest.planned_for.desc()).limit(1))
    return Schedule.read(plan.schedule).after(max(now, done or now))


def _set(session: Session, plan: Plan, changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        setattr(plan, name, _CHECKED[name](session, plan, value))
    if plan.most < plan.fewest:
        raise BadInput(
            f"--min {plan.fewest} is more than --max {plan.most}: nothing would ever be composed.",
            "max",
        )


def _number(field: str) -> Callable[[Session, Plan, int], int]:
    def check(_session: Session, _plan: Plan, value: int) -> int:
        if not 1 <= value <= MAX_ARTICLES:
            raise BadInput(f"--{field} is a number of articles from 1 to {MAX_ARTICLES}.", field)
        return value

    return check


def _length(_session: Session, _plan: Plan, value: str) -> str:
    length: str = compose.checked_words(length=value)["length"]
    return length


def _sections(_session: Session, _plan: Plan, value: str | None) -> str | None:
    if value and value not in get_args(choose.Grouping):
        raise BadInput(f"Sections are by {' or by '.join(get_args(choose.Grouping))}.", "group-by")
    return value or None


def _as_is(_session: Session, _plan: Plan, value: Any) -> Any:
    return value


def _tags(_session: Session, _plan: Plan, value: Sequence[str]) -> list[str]:
    return [tag for tag in dict.fromkeys(" ".join(tag.split()) for tag in value) if tag]


def _feeds(session: Session, plan: Plan, value: Sequence[int]) -> list[Feed]:
    query = select(Feed).where(Feed.id.in_(list(value)), Feed.publication_id == plan.publication.id)
    found = {feed.id: feed for feed in session.scalars(query)}
    for number in value:
        if number not in found:
            raise BadInput(
                f"There is no feed {number} of {plan.publication.slug}: newsletter feed list",
                "feed",
            )
    return list(found.values())


def _words(field: str) -> Callable[[Session, Plan, str | None], str | None]:
    def check(_session: Session, _plan: Plan, value: str | None) -> str | None:
        checked: str | None = compose.checked_words(**{field: value})[field]
        return checked

    return check


def _subject(_session: Session, _plan: Plan, value: str | None) -> str | None:
    subject: str | None = compose.checked_words(subject=value)["subject"]
    for name in _IN_BRACES.findall(subject or ""):
        if name not in PLACEHOLDERS:
            known = ", ".join(f"{{{each}}}" for each in PLACEHOLDERS)
            raise BadInput(f"{{{name}}} stands for nothing; these do: {known}.", "subject")
    return subject


_CHECKED: Mapping[str, Callable[[Session, Plan, Any], Any]] = {
    "fewest": _number("min"),
    "most": _number("max"),
    "tags": _tags,
    "feeds": _feeds,
    "length": _length,
    "has_lead": _as_is,
    "sections": _sections,
    "subject": _subject,
    "intro": _words("intro"),
    "outro": _words("outro"),
    "sends": _as_is,
}
