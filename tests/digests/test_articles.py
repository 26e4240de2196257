"""Articles are kept once, and stay as long as a draft needs them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine

from newsletter import store
from newsletter.digests import approve, articles, compose
from newsletter.digests.articles import ArticleInput
from newsletter.errors import NotFound, WrongState

SWIFTS = ArticleInput(title="Swifts", body="They are back.", url="https://example.org/swifts")


def test_the_same_url_is_the_same_article(engine: Engine, now: datetime) -> None:
    """Adding it again updates it; adding it unchanged changes nothing, not even its date."""
    later = now + timedelta(hours=1)
    changed = ArticleInput(title="Swifts!", body="They left.", url=SWIFTS.url, tags=("birds",))
    with store.transaction(engine) as session:
        first, what = articles.save(session, SWIFTS, now=now)
        assert what == "new"
    with store.transaction(engine) as session:
        again, what = articles.save(session, SWIFTS, now=later)
        assert (again.id, what, again.updated_at) == (first.id, "same", now)
    with store.transaction(engine) as session:
        again, what = articles.save(session, changed, now=later)
        assert (again.id, what, again.updated_at) == (first.id, "updated", later)
    with store.reading(engine) as session:
        (kept,) = articles.all_of(session)
        assert (kept.title, kept.body, kept.tags) == ("Swifts!", "They left.", ["birds"])


def test_without_a_url_only_the_same_is_the_same(engine: Engine, now: datetime) -> None:
    """Two articles that share a title are two; adding one of them twice is not a third."""
    one = ArticleInput(title="Note", body="One.")
    with store.transaction(engine) as session:
        assert articles.save(session, one, now=now)[1] == "new"
        assert articles.save(session, ArticleInput(title="Note", body="Two."), now=now)[1] == "new"
        assert articles.save(session, one, now=now)[1] == "same"
        assert len(articles.all_of(session)) == 2


def test_a_draft_keeps_its_articles(
    engine: Engine, now: datetime, make_publication: Callable[..., store.Publication]
) -> None:
    """Removal is refused while a draft needs the article; what was approved has its own copy."""
    with store.transaction(engine) as session:
        article, _ = articles.save(session, SWIFTS, now=now)
        digest = compose.new(
            session,
            make_publication(session),
            subject="News",
            intro=None,
            article_ids=[article.id],
            now=now,
        )
        with pytest.raises(WrongState, match=f"draft digest {digest.id}"):
            articles.remove(session, article.id)
        approve.approve(session, digest, base_url="https://news.example.org", now=now)
    with store.transaction(engine) as session:
        articles.remove(session, article.id)
        with pytest.raises(NotFound, match="article list"):
            articles.find(session, article.id)
        kept = session.get_one(store.Digest, digest.id)
        assert compose.content(session, kept).pieces[0].title == "Swifts"
