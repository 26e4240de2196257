"""What real feeds bring becomes digests that pass the gate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from newsletter import store
from newsletter.config import Settings
from newsletter.digests import articles, check, compose, preview
from newsletter.digests.feeds import document
from newsletter.mail.letters import of_files
from newsletter.sending import specimen
from newsletter.sending.origin import Origin

FEEDS = sorted((Path(__file__).parent / "feeds").iterdir())


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("feed", FEEDS, ids=lambda path: path.name)
def test_a_feeds_articles_pass(
    feed: Path,
    engine: Engine,
    settings: Settings,
    make_publication: Callable[..., store.Publication],
    now: Any,
) -> None:
    """In whole and as teasers, in each theme: no error, and text that says what the HTML says."""
    reading = document.read(feed.read_bytes(), "", url="https://example.org/feed", max_entries=20)
    with store.transaction(engine) as session:
        publication = make_publication(session)
        saved = [articles.save(session, each.article, now=now)[0] for each in reading.entries]
        for length in ("full", "teaser"):
            digest = compose.new(
                session,
                publication,
                subject="The wood in March",
                intro=None,
                article_ids=list(dict.fromkeys(each.id for each in saved)),
                length=length,
                now=now,
            )
            for theme in of_files("en").themes():
                frozen = preview.frozen(session, digest, base_url=settings.base_url, theme=theme)
                raw = specimen.mail(digest, frozen, Origin.of(settings), at=now)
                facts = check.Facts.of(digest, settings.base_url)
                found = {each.rule.name for each in check.check(check.read(raw), facts)}
                # What the site did: pictures without a size, in a format that Gmail lacks.
                assert found <= {"picture-size", "image-svg", "preheader-missing"}
