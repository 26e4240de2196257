"""A draft is composed and changed: sections, lead, lengths, words around it, and who may."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from newsletter import store
from newsletter.digests import approve, articles, compose, markup, rawhtml
from newsletter.digests.arrange import Arrangement
from newsletter.digests.articles import ArticleInput
from newsletter.digests.content import Content, Piece
from newsletter.errors import BadInput, NotFound, WrongState

BASE = "https://news.example.org"
MakePublication = Callable[..., store.Publication]


def keep(session: Session, *titles: str, now: datetime, **more: object) -> list[int]:
    """Articles with these titles, kept; their numbers."""
    made = []
    for title in titles:
        article = ArticleInput(
            title=title,
            body=f"{title} is the body.",
            url=f"https://example.org/{title.lower().replace(' ', '-')}",
            **more,  # type: ignore[arg-type]
        )
        made.append(articles.save(session, article, now=now)[0].id)
    return made


def shown(session: Session, digest: store.Digest) -> list[tuple[str, str | None, bool, bool]]:
    """Title, section, whether it is the lead, whether all of it is shown."""
    pieces = compose.content(session, digest).pieces
    return [(each.title, each.section, each.is_lead, each.full) for each in pieces]


def test_sections_lead_lengths_and_words_around(
    engine: Engine, now: datetime, make_publication: MakePublication
) -> None:
    """All that an operator says of it stands in what the letter says, in that order."""
    with store.transaction(engine) as session:
        one, two, three, four = keep(session, "One", "Two", "Three", "Four", now=now)
        arrangement = Arrangement(
            sections=[("Walks", [two]), ("Bread", [four])], lead=three, full=[four]
        )
        digest = compose.new(
            session,
            make_publication(session),
            article_ids=[one, two, three],
            subject="March",
            preheader="What  grew",
            intro="Hello *you*.",
            outro="Until [soon](https://example.org/).",
            arrangement=arrangement,
            now=now,
        )
    with store.reading(engine) as session:
        kept = session.get_one(store.Digest, digest.id)
        assert shown(session, kept) == [
            ("Three", None, True, False),
            ("One", None, False, False),
            ("Two", "Walks", False, False),
            ("Four", "Bread", False, True),
        ]
        content = compose.content(session, kept)
        assert (content.subject, content.preheader) == ("March", "What grew")
        assert content.outro_html == '<p>Until <a href="https://example.org/">soon</a>.</p>'
        assert content.outro_text == "Until soon [1].\n\n[1] https://example.org/"
        assert content.intro_text == "Hello you."


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_subject_and_preheader_are_made_when_nobody_wrote_them(
    engine: Engine, now: datetime, make_publication: MakePublication
) -> None:
    """Out of the articles; a made subject follows them, one that was written stays."""
    with store.transaction(engine) as session:
        one, two, three = keep(session, "One", "Two", "Three", now=now)
        digest = compose.new(session, make_publication(session), article_ids=[one, two], now=now)
        assert digest.subject == "One and Two"
        assert compose.content(session, digest).preheader == "One is the body."
        compose.edit(session, digest, more=[three])
        assert digest.subject == "One, Two and 1 more"
        assert compose.content(session, digest).preheader == "Three"
        compose.edit(session, digest, subject="Mine", preheader="Yours")
        compose.edit(session, digest, article_ids=[three, one])
        content = compose.content(session, digest)
        assert (content.subject, content.preheader) == ("Mine", "Yours")
        compose.edit(session, digest, subject="", preheader=" ")
        content = compose.content(session, digest)
        assert (content.subject, content.preheader) == ("Three and One", "Three is the body.")
        assert compose.suggested_subjects(digest, now) == [
            "Three and One",
            "Field Notes: Three",
            "Field Notes, March 1, 2026",
        ]


def test_a_draft_is_changed(
    engine: Engine, now: datetime, make_publication: MakePublication
) -> None:
    """Only what is named changes; articles that stay keep what was said of them."""
    with store.transaction(engine) as session:
        one, two, three, four = keep(session, "One", "Two", "Three", "Four", now=now)
        digest = compose.new(
            session,
            make_publication(session),
            article_ids=[one, two, three],
            intro="Hello.",
            outro="Bye.",
            arrangement=Arrangement(sections=[("Walks", [two, three])], lead=one, teaser=[two]),
            now=now,
        )
        number = digest.id

    def edit(**changes: object) -> list[tuple[str, str | None, bool, bool]]:
        with store.transaction(engine) as session:
            digest = session.get_one(store.Digest, number)
            compose.edit(session, digest, **changes)  # type: ignore[arg-type]
        with store.reading(engine) as session:
            return shown(session, session.get_one(store.Digest, number))

    assert edit(length="full", intro="") == [
        ("One", None, True, True),
        ("Two", "Walks", False, False),
        ("Three", "Walks", False, True),
    ]
    # The same rows in another order, one gone, one new.
    assert edit(article_ids=[three, two, four]) == [
        ("Four", None, False, True),
        ("Three", "Walks", False, True),
        ("Two", "Walks", False, False),
    ]
    assert edit(arrangement=Arrangement(lead=two, sections=[("", [three]), ("Bread", [four])])) == [
        ("Two", None, True, False),
        ("Three", None, False, True),
        ("Four", "Bread", False, True),
    ]
    with store.reading(engine) as session:
        content = compose.content(session, session.get_one(store.Digest, number))
        assert (content.intro_text, content.outro_text) == ("", "Bye.")


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_change_with_a_fault_changes_nothing(
    engine: Engine, now: datetime, make_publication: MakePublication
) -> None:
    """The draft is as it was before, whatever part of the change was wrong."""
    with store.transaction(engine) as session:
        one, two = keep(session, "One", "Two", now=now)
        digest = compose.new(session, make_publication(session), article_ids=[one], now=now)
    changes: list[tuple[dict[str, object], type[Exception]]] = [
        ({"article_ids": [one, one]}, BadInput),
        ({"article_ids": [two, 99]}, NotFound),
        ({"more": [99]}, NotFound),
        ({"more": [two], "arrangement": Arrangement(lead=99)}, BadInput),
        ({"more": [two], "subject": "x" * 201}, BadInput),
        ({"more": [two], "length": "long"}, BadInput),
    ]
    for change, error in changes:
        with pytest.raises(error), store.transaction(engine) as session:
            compose.edit(session, session.get_one(store.Digest, digest.id), **change)  # type: ignore[arg-type]
        with store.reading(engine) as session:
            kept = session.get_one(store.Digest, digest.id)
            assert (kept.subject, [each.article_id for each in kept.entries]) == ("One", [one])


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_only_a_draft_is_changed(
    engine: Engine, now: datetime, make_publication: MakePublication
) -> None:
    """What was approved says what it says, with its sections and its outro."""
    with store.transaction(engine) as session:
        (one,) = keep(session, "One", now=now)
        digest = compose.new(
            session,
            make_publication(session),
            article_ids=[one],
            outro="Bye.",
            arrangement=Arrangement(sections=[("Walks", [one])]),
            now=now,
        )
        approve.approve(session, digest, base_url=BASE, now=now)
        with pytest.raises(WrongState, match="only a draft"):
            compose.edit(session, digest, outro="Later.")
        digest.entries[0].section = "Elsewhere"
        digest.outro = "Later."
        content = compose.content(session, digest)
        assert (content.outro_text, content.pieces[0].section) == ("Bye.", "Walks")
    with store.transaction(engine) as session:
        digest = session.get_one(store.Digest, digest.id)
        digest.cancel()
        with pytest.raises(WrongState, match="cancelled"):
            compose.edit(session, digest, subject="Later")


def test_what_was_frozen_before_there_were_sections_is_read() -> None:
    """The archive's old digests have none of the newer fields; they have their defaults."""
    old = {
        "version": 1,
        "subject": "S",
        "preheader": "P",
        "intro_html": "",
        "intro_text": "",
        "language": "en",
        "pieces": [
            {
                "title": "T",
                "url": None,
                "author": None,
                "published": None,
                "summary_html": "",
                "summary_text": "",
                "body_html": "",
                "body_text": "",
                "image": None,
                "image_alt": "",
                "image_credit": None,
                "tags": ["a"],
                "full": True,
            }
        ],
    }
    content = Content.from_json(json.loads(json.dumps(old)))
    assert (content.outro_html, content.outro_text) == ("", "")
    (piece,) = content.pieces
    assert (piece.section, piece.is_lead, piece.image_width, piece.tags) == (
        None,
        False,
        None,
        ("a",),
    )


def test_an_article_keeps_its_language(
    engine: Engine, now: datetime, make_publication: MakePublication
) -> None:
    """In what the letter says and in what is frozen; what was frozen without one is read."""
    with store.transaction(engine) as session:
        ids = keep(session, "مساء عودة السمامات", now=now, language="ar", summary="مساء")
        ids += keep(session, "English", now=now)
        digest = compose.new(session, make_publication(session), article_ids=ids, now=now)
        content = compose.content(session, digest)
        assert [each.language for each in content.pieces] == ["ar", None]
        kept = json.loads(json.dumps(content.to_json()))
        assert Content.from_json(kept) == content
        for each in kept["pieces"]:
            del each["language"]
        assert [each.language for each in Content.from_json(kept).pieces] == [None, None]


def test_an_article_of_an_unknown_language_begins_on_its_side(
    engine: Engine, now: datetime, make_publication: MakePublication
) -> None:
    """Its direction is that of its letters, also when what was said of it is belied by them."""
    with store.transaction(engine) as session:
        ids = keep(session, "הסיסים חזרו", now=now, summary="בערב")
        ids += keep(session, "مساء عودة السمامات", now=now, language="en-US", summary="مساء")
        ids += keep(session, "English", now=now)
        ids += keep(session, "عودة السمامات", now=now, language="ar", summary="مساء")
        digest = compose.new(session, make_publication(session), article_ids=ids, now=now)
        content = compose.content(session, digest)
        assert [(each.language, each.direction) for each in content.pieces] == [
            (None, "rtl"),
            (None, "rtl"),
            (None, None),
            ("ar", None),
        ]
        kept = json.loads(json.dumps(content.to_json()))
        assert Content.from_json(kept) == content
        for each in kept["pieces"]:
            del each["direction"]
        assert {each.direction for each in Content.from_json(kept).pieces} == {None}


PICTURE = "https://example.org/o'brien.jpg?a=1&b=2"
TOLD = {
    "image": PICTURE,
    "image_width": 900,
    "image_height": 600,
    "image_alt": "A heron",
    "image_credit": "Photo: Jane & Joe",
}


def piece_of(
    session: Session, publication: store.Publication, body: str, now: datetime, **more: object
) -> Piece:
    """How an article with that body and a picture stands in full."""
    told = ArticleInput(title="Herons", body=body, **{**TOLD, **more})  # type: ignore[arg-type]
    article, _ = articles.save(session, told, now=now)
    digest = compose.new(session, publication, article_ids=[article.id], length="full", now=now)
    return compose.content(session, digest).pieces[0]


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (f"![]({PICTURE})\n\nWords.", "<figure>{img}<figcaption>{credit}</figcaption></figure>\n"),
        (
            f"[![A heron]({PICTURE})](https://example.org/)",
            '<a href="https://example.org/">{img}</a><fig',
        ),
        (f"Words ![]({PICTURE}) words.", "Words {img}<br><small>{credit}</small><br> words."),
        (
            f'<figure><img src="{PICTURE}"><figcaption>One.</figcaption></figure>',
            "{img}<figcaption>One. · {credit}</figcaption>",
        ),
        (
            f'<figure><img src="{PICTURE}" alt=" "></figure>\n\nWords.',
            "{img}<figcaption>{credit}</figcaption></figure>",
        ),
    ],
)
def test_a_picture_in_the_text_keeps_what_is_said_of_it(
    engine: Engine, now: datetime, make_publication: MakePublication, body: str, shown: str
) -> None:
    """Its size, its words, its credit in both parts; and its address for cards and feeds."""
    with store.transaction(engine) as session:
        piece = piece_of(session, make_publication(session), body, now)
    tag = next(each for each in rawhtml.TAG.finditer(piece.body_html) if each[2] == "img")
    assert rawhtml.attributes(tag[3]) == {
        "src": PICTURE,
        "alt": "A heron",
        "width": "900",
        "height": "600",
    }
    assert shown.format(img=tag[0], credit="Photo: Jane &amp; Joe") in piece.body_html
    assert piece.body_text.startswith("Photo: Jane & Joe")
    assert markup.html(piece.body_html) == piece.body_html.replace("&#x27;", "'")
    assert (piece.image, piece.image_in_body, piece.picture) == (None, PICTURE, PICTURE)


def test_what_the_text_says_of_its_picture_goes_before(
    engine: Engine, now: datetime, make_publication: MakePublication
) -> None:
    """Its own words and size stay, and a credit that is there is not there twice."""
    body = (
        f'<img src="{PICTURE}" alt="Mine" width="300" height="200">\n\nPhoto: Jane & Joe\n\nWords.'
    )
    with store.transaction(engine) as session:
        publication = make_publication(session)
        piece = piece_of(session, publication, body, now)
        other = piece_of(session, publication, "Words.", now)
    assert 'alt="Mine" width="300" height="200"' in piece.body_html
    assert piece.body_html.count("Jane") == piece.body_text.count("Jane") == 1
    assert (other.image, other.image_in_body, other.picture) == (PICTURE, None, PICTURE)
