"""A digest from its draft to its approval: what it says, and that it stays as it was approved."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from newsletter import store
from newsletter.digests import approve, articles, compose, preview
from newsletter.digests.articles import ArticleInput
from newsletter.digests.content import Content, Piece
from newsletter.digests.freeze import SLOTS, fill
from newsletter.errors import BadInput, NotFound, WrongState

BASE = "https://news.example.org"
MakePublication = Callable[..., store.Publication]

SWIFTS = ArticleInput(
    title="Swifts <b>&</b> roofs",
    body="They are *back*. See [the map](map.html).\n\nMore.",
    url="https://example.org/swifts",
    published=datetime(2026, 2, 28, tzinfo=UTC),
    author="Ada",
    summary="A short *summary*.",
    image="https://example.org/s.jpg",
    tags=("birds",),
)
BREAD = ArticleInput(title="Bread", body="Flour and water. And time.")


def draft(
    session: Session,
    publication: store.Publication,
    now: datetime,
    *inputs: ArticleInput,
    **over: str,
) -> store.Digest:
    ids = [articles.save(session, each, now=now)[0].id for each in inputs]
    values = {"subject": "March", "intro": "Hello **all**.", **over}
    return compose.new(session, publication, article_ids=ids, now=now, **values)


def test_content(engine: Engine, now: datetime, make_publication: MakePublication) -> None:
    """Articles in their order, absolute addresses, titles as text, dates as dates."""
    with store.transaction(engine) as session:
        digest = draft(session, make_publication(session), now, SWIFTS, BREAD)
        content = compose.content(session, digest)
    assert (content.subject, content.preheader, content.language) == ("March", "Hello all.", "en")
    assert (content.intro_html, content.intro_text) == (
        "<p>Hello <strong>all</strong>.</p>",
        "Hello all.",
    )
    swifts, bread = content.pieces
    assert swifts == Piece(
        title="Swifts <b>&</b> roofs",
        url="https://example.org/swifts",
        author="Ada",
        published="2026-02-28",
        summary_html="<p>A short <em>summary</em>.</p>",
        summary_text="A short summary.",
        image="https://example.org/s.jpg",
        tags=("birds",),
        full=False,
    )
    assert bread.full
    assert bread.summary_text == "Flour and water. And time."
    assert bread.body_html == "<p>Flour and water. And time.</p>"


@pytest.mark.parametrize(
    ("length", "inputs", "full"),
    [
        ("auto", [SWIFTS], [True]),
        ("auto", [replace(SWIFTS, body="word " * 11_000)], [False]),
        ("full", [replace(SWIFTS, body="word " * 11_000)], [True]),
        ("auto", [SWIFTS, BREAD], [False, True]),
        ("full", [SWIFTS, BREAD], [True, True]),
        ("teaser", [SWIFTS], [False]),
    ],
)
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_how_much_of_an_article_is_shown(
    engine: Engine,
    now: datetime,
    make_publication: MakePublication,
    length: str,
    inputs: list[ArticleInput],
    full: list[bool],
) -> None:
    """auto shows all of a single article that a letter can hold, and of one without a url."""
    with store.transaction(engine) as session:
        digest = draft(session, make_publication(session), now, *inputs, length=length)
        pieces = compose.content(session, digest).pieces
    assert [piece.full for piece in pieces] == full
    assert [bool(piece.body_html) for piece in pieces] == full


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_draft_with_faults_is_refused(
    engine: Engine, now: datetime, make_publication: MakePublication
) -> None:
    """Subject, length, articles and introduction are checked before anything is kept."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
        for field, over in (
            ("preheader", {"preheader": "x" * 201}),
            ("subject", {"subject": "x" * 201}),
            ("length", {"length": "long"}),
            ("intro", {"intro": "<div>" * 300}),
            ("outro", {"outro": "<div>" * 300}),
        ):
            with pytest.raises(BadInput) as caught:
                draft(session, publication, now, BREAD, **over)
            assert caught.value.field == field
        bread = articles.all_of(session)[0].id
        for ids, error in (([bread, bread], BadInput), ([bread, 99], NotFound)):
            with pytest.raises(error):
                compose.new(session, publication, subject="S", intro=None, article_ids=ids, now=now)
        assert draft(session, publication, now, BREAD, subject="a\r\nBcc: b").subject == "a Bcc: b"


def test_what_was_approved_stays(
    engine: Engine, now: datetime, make_publication: MakePublication
) -> None:
    """Neither an edited article nor another publication title changes an approved digest."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
        digest = draft(session, publication, now, SWIFTS)
        before = preview.letter(session, digest, base_url=BASE)
        approve.approve(session, digest, base_url=BASE, now=now)
        articles.save(session, ArticleInput(title="Other", body="Other.", url=SWIFTS.url), now=now)
        publication.title = "Other"
    with store.reading(engine) as session:
        kept = session.get_one(store.Digest, digest.id)
        assert (kept.state, kept.approved_at) == ("approved", now)
        assert preview.letter(session, kept, base_url=BASE) == before
        assert compose.content(session, kept).pieces[0].title == "Swifts <b>&</b> roofs"


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_the_frozen_letter(
    engine: Engine, now: datetime, make_publication: MakePublication
) -> None:
    """One render, random slots, JSON all through, and a hash over everything in it."""
    with store.transaction(engine) as session:
        digest = draft(session, make_publication(session), now, SWIFTS)
        one = approve.frozen_now(session, digest, base_url=BASE)
        two = approve.frozen_now(session, digest, base_url=BASE)
    assert set(one["slots"]) == {*SLOTS} - {"name"}, "only what the templates show"
    assert not set(one["slots"].values()) & set(two["slots"].values())
    for name, token in one["slots"].items():
        assert token in one["html"], name
        assert token in one["text"], name
    assert json.loads(json.dumps(one)) == one
    rest = {key: value for key, value in one.items() if key != "sha256"}
    canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert one["sha256"] == hashlib.sha256(canonical.encode()).hexdigest()
    assert Content.from_json(one["content"]).subject == "March"
    assert f"{BASE}/field-notes/archive/{digest.public_id}" in one["html"]
    assert f"{BASE}/field-notes/archive/{digest.public_id}" in one["text"]


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_the_checkpoint_is_frozen_too(
    engine: Engine, now: datetime, make_publication: MakePublication
) -> None:
    """What the log was at the approval stands in the content, and under its hash."""
    note = "news.example.org/consent-log\n1\nqqqq\n\n— news.example.org/consent-log zzzz\n"
    with store.transaction(engine) as session:
        digest = draft(session, make_publication(session), now, SWIFTS)
        approve.approve(session, digest, base_url=BASE, now=now, checkpoint=note)
        frozen = digest.frozen
    assert frozen is not None
    assert frozen["checkpoint"] == note
    rest = {key: value for key, value in frozen.items() if key != "sha256"}
    canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert frozen["sha256"] == hashlib.sha256(canonical.encode()).hexdigest()


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_hostile_values_stay_values(
    engine: Engine, now: datetime, make_publication: MakePublication
) -> None:
    """A script in a title, a body or a reader's name is shown, not run; no name is a template."""
    hostile = ArticleInput(
        title="<script>alert(1)</script> {{ 7*7 }}", body="<script>alert(2)</script> {{ 7*7 }} text"
    )
    with store.transaction(engine) as session:
        digest = draft(session, make_publication(session), now, hostile)
        frozen = approve.frozen_now(session, digest, base_url=BASE)
    values = dict.fromkeys(SLOTS, "x") | {
        "greeting": "Hello <script>alert(3)</script> {{ 7*7 }}\r\nBcc: x@example.org,",
        "unsubscribe_url": "https://news.example.org/unsubscribe/a?b=1&c=2",
    }
    letter = fill(frozen, values)
    assert "<script" not in letter.html
    assert "&lt;script&gt;alert(3)&lt;/script&gt; {{ 7*7 }}" in letter.html
    assert "/unsubscribe/a?b=1&amp;c=2" in letter.html
    assert "/unsubscribe/a?b=1&c=2" in letter.text
    assert "\nBcc:" not in letter.text
    assert "alert(2)" not in letter.text


def test_only_a_draft_with_articles_is_approved(
    engine: Engine, now: datetime, make_publication: MakePublication
) -> None:
    """An empty digest is refused, and so is approving twice."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
        empty = draft(session, publication, now)
        with pytest.raises(WrongState, match="no article"):
            approve.approve(session, empty, base_url=BASE, now=now)
        digest = draft(session, publication, now, BREAD)
        approve.approve(session, digest, base_url=BASE, now=now)
        with pytest.raises(WrongState, match="approved already"):
            approve.approve(session, digest, base_url=BASE, now=now)


def test_content_is_read_back_as_it_was_written() -> None:
    """to_json and from_json are inverse; another version is refused, not guessed at."""
    content = Content(subject="S", pieces=(Piece(title="T", tags=("a", "b"), full=True),))
    assert Content.from_json(json.loads(json.dumps(content.to_json()))) == content
    with pytest.raises(ValueError, match="version 2"):
        Content.from_json({**content.to_json(), "version": 2})
