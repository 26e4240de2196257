"""The feeds: valid, full text, cheap to ask again, and nobody's data in them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import pytest
from feedrules import ATOM, JSON_FEED, XML, atom_faults, html_faults
from flask.testing import FlaskClient
from sqlalchemy import Engine, event

from newsletter import store
from newsletter.digests import markdown
from newsletter.digests.feeds import document

Publish = Callable[..., store.Digest]

# Characters that XML cannot have, a line end, markup in every place, other scripts, an emoji.
NASTY = "A\x01\x0b\ufffe <b>&amp;</b> \"\u202e'\n]]> \u05e9\u05dc\u05d5\u05dd \u96ea \U0001f426"
ODD: list[dict[str, Any]] = [
    {},
    {"pieces": [], "preheader": "", "intro_html": "", "subject": "Nothing"},
    {"subject": NASTY, "preheader": NASTY, "intro_html": f"<p>{NASTY}</p>", "language": "he"},
    {"pieces": [{"title": NASTY, "tags": [NASTY, NASTY, "x"], "full": True, "body_html": NASTY}]},
    {"outro_html": "<p>Write to us.</p>", "subject": "Sections"},
]


@pytest.fixture
def published(publish: Publish, now: datetime) -> list[store.Digest]:
    """Digests of every kind, the first one the newest."""
    return [publish(at=now - timedelta(days=7 * place), **odd) for place, odd in enumerate(ODD)]


def test_the_atom_feed_is_valid(client: FlaskClient, published: list[store.Digest]) -> None:
    """By the rules of RFC 4287, whatever a digest says; and it is what it says it is."""
    answer = client.get("/field-notes/feed.xml")
    assert answer.mimetype == "application/atom+xml"
    assert atom_faults(answer.data) == []
    root = ET.fromstring(answer.data)
    assert len(root.findall(f"{ATOM}entry")) == len(published)
    links = {link.get("rel"): link.get("href") for link in root.findall(f"{ATOM}link")}
    assert links == {
        "self": "https://news.example.org/field-notes/feed.xml",
        "alternate": "https://news.example.org/field-notes/",
    }


def test_an_empty_feed_is_valid(client: FlaskClient, publication: store.Publication) -> None:
    """Before the first digest there is a feed to subscribe to."""
    assert atom_faults(client.get("/field-notes/feed.xml").data) == []
    feed = client.get("/field-notes/feed.json").json
    jsonschema.validate(feed, JSON_FEED)
    assert feed["items"] == []


@pytest.mark.parametrize(
    ("spoilt", "by"),
    [
        ("<id>urn:uuid:", "<id>"),
        ("<title>Field Notes</title>", ""),
        ("<name>Field Notes</name>", "<name></name>"),
        (":00Z</updated>", ":00</updated>"),
        ("T12:00:00Z", "t12:00:00z"),
        ('href="https://news.example.org/field-notes/archive', 'href="/field-notes/archive'),
        ('rel="self"', 'rel="alternate"'),
        ('type="text/html" href', 'type="html" href'),
        ("</entry>", "<extra/></entry>"),
        ('<content type="html">', '<content type="html">&lt;script&gt;'),
        ('<content type="html">', '<content type="html">&lt;a href="/here"&gt;'),
        ('<content type="html">', '<content type="html"><p>'),
        ("<generator>newsletter</generator>", "<author/>"),
        ('<category term="rivers"', '<category term=""'),
        ("<feed", "<!DOCTYPE feed><feed"),
        ('xml:lang="en"', 'xml:lang="en_US!"'),
    ],
)
def test_the_rules_find_faults(client: FlaskClient, digest: store.Digest, spoilt, by) -> None:
    """A check that finds nothing in a spoilt feed would find nothing in ours."""
    text = client.get("/field-notes/feed.xml").text
    assert spoilt in text
    assert atom_faults(text.replace(spoilt, by, 1).encode()) != []


def test_an_entry_says_all_that_the_digest_says(client: FlaskClient, digest: Any) -> None:
    """Full text where the letter has it, teasers where it has teasers, pictures and links."""
    (entry,) = ET.fromstring(client.get("/field-notes/feed.xml").data).findall(f"{ATOM}entry")
    html = entry.findtext(f"{ATOM}content") or ""
    assert entry.findtext(f"{ATOM}title") == "High <water>"
    assert entry.findtext(f"{ATOM}summary") == "What it carried"
    assert entry.get(f"{XML}lang") == "en"
    assert "<p>It rained.</p>" in html
    assert '<h2><a href="https://example.org/river">The river &amp; us</a></h2>' in html
    assert "<p>It rose.</p>" in html
    assert '<img src="https://example.org/heron.jpg" alt="A heron">' in html
    assert "<p>Six of them.</p>" in html
    assert "All of it." not in html
    link = entry.find(f"{ATOM}link")
    assert link is not None
    assert link.get("href", "").endswith(f"/field-notes/archive/{digest.public_id}")
    assert [each.get("term") for each in entry.findall(f"{ATOM}category")] == ["rivers"]


def test_the_json_feed_is_valid_and_says_the_same(
    client: FlaskClient, published: list[store.Digest]
) -> None:
    """Version 1.1 with what it requires; ids, texts and dates are those of the Atom feed."""
    answer = client.get("/field-notes/feed.json")
    assert answer.mimetype == "application/feed+json"
    feed = json.loads(answer.data)
    jsonschema.validate(feed, JSON_FEED)
    atom = ET.fromstring(client.get("/field-notes/feed.xml").data).findall(f"{ATOM}entry")
    assert [item["id"] for item in feed["items"]] == [each.findtext(f"{ATOM}id") for each in atom]
    for item, entry in zip(feed["items"], atom, strict=True):
        assert html_faults(item["content_html"]) == []
        published_at = datetime.fromisoformat(item["date_published"])
        assert published_at == datetime.fromisoformat(entry.findtext(f"{ATOM}published") or "")


def test_our_own_reader_takes_it_in(client: FlaskClient, published: list[store.Digest]) -> None:
    """What this service writes it can read: titles, links, dates and texts come back."""
    for kind in ("xml", "json"):
        url = f"https://news.example.org/field-notes/feed.{kind}"
        answer = client.get(f"/field-notes/feed.{kind}")
        read = document.read(answer.data, answer.content_type, url=url, max_entries=100)
        articles = [entry.article for entry in read.entries]
        assert len(articles) == len(published)
        assert articles[0].title == "High <water>"
        assert articles[0].url.endswith(f"/field-notes/archive/{published[0].public_id}")
        assert "It rose." in articles[0].body


def test_ids_stay_when_the_installation_moves(
    client: FlaskClient, digest: store.Digest, settings: Any, engine: Engine
) -> None:
    """A feed reader does not show everything as new under another address."""
    from newsletter.web import create_app

    moved = settings.model_copy(update={"base_url": "https://letters.example.net/x"})
    other = create_app(moved, engine).test_client()
    here, there = (
        re.findall("<id>([^<]+)</id>", each.get("/field-notes/feed.xml").text)
        for each in (client, other)
    )
    assert len(here) == 2
    assert here == there
    text = other.get("/field-notes/feed.xml").text
    assert "https://letters.example.net/x/field-notes/archive/" in text
    assert "news.example.org" not in text


def test_nothing_new_costs_nothing(
    client: FlaskClient, engine: Engine, digest: store.Digest, publish: Publish, now: datetime
) -> None:
    """304 for an ETag or a date, without any content being read; a new digest is found."""
    for path in ("/field-notes/feed.xml", "/field-notes/feed.json"):
        first = client.get(path)
        tag, day = first.headers["ETag"], first.headers["Last-Modified"]
        asked: list[str] = []

        def note(_connection, _cursor, statement, *_rest, asked=asked) -> None:
            asked.append(statement)

        event.listen(engine, "before_cursor_execute", note)
        for headers in ({"If-None-Match": tag}, {"If-Modified-Since": day}):
            again = client.get(path, headers=headers)
            assert (again.status_code, again.data) == (304, b"")
            assert again.headers["ETag"] == tag
        event.remove(engine, "before_cursor_execute", note)
        assert asked
        assert not any("content" in statement for statement in asked)
        assert client.head(path).headers["ETag"] == tag
    assert client.get("/field-notes/feed.xml").headers["ETag"] != tag
    later = publish(at=now + timedelta(days=1))
    fresh = client.get(path, headers={"If-None-Match": tag, "If-Modified-Since": day})
    assert fresh.status_code == 200
    assert later.public_id in fresh.text
    with store.transaction(engine) as session:
        session.query(store.Publication).one().title = "Other Notes"
    renamed = client.get(path, headers={"If-None-Match": fresh.headers["ETag"]})
    assert renamed.status_code == 200


def test_a_feed_has_an_end(client: FlaskClient, publish: Publish, now: datetime) -> None:
    """The newest twenty, newest first."""
    made = [publish(at=now + timedelta(hours=place)) for place in range(23)]
    entries = ET.fromstring(client.get("/field-notes/feed.xml").data).findall(f"{ATOM}entry")
    links = [entry.find(f"{ATOM}link").get("href") for entry in entries]  # type: ignore[union-attr]
    wanted = [digest.public_id for digest in reversed(made)][:20]
    assert [str(link).split("/")[-1] for link in links] == wanted


@pytest.mark.parametrize("state", ["draft", "approved", "cancelled"])
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_only_what_went_out_is_in_it(
    client: FlaskClient, engine: Engine, digest: store.Digest, state: str
) -> None:
    """What the archive does not show, the feeds do not tell."""
    with store.transaction(engine) as session:
        found = session.get(store.Digest, digest.id)
        assert found
        found.state = state
    for kind in ("xml", "json"):
        assert digest.public_id not in client.get(f"/field-notes/feed.{kind}").text


def test_pages_name_the_feeds(client: FlaskClient, digest: store.Digest) -> None:
    """Feed readers find them from the sign-up page, the archive and each digest."""
    for page in ("/", "/field-notes/archive/", f"/field-notes/archive/{digest.public_id}"):
        text = client.get(page).text
        kinds = re.findall(r'<link rel="alternate" type="([^"]+)" [^>]*href="([^"]+)"', text)
        assert kinds == [
            ("application/atom+xml", "/field-notes/feed.xml"),
            ("application/feed+json", "/field-notes/feed.json"),
        ]


def test_there_is_no_feed_of_nobody(client: FlaskClient, publication: store.Publication) -> None:
    """404, as a page."""
    for path in ("/night-sky/feed.xml", "/night-sky/feed.json"):
        assert client.get(path).status_code == 404


def test_an_entry_says_on_which_side_it_begins(client: FlaskClient, publish: Any) -> None:
    """As a whole, and an article in another language by itself: feed readers know no direction."""
    piece = {"tags": [], "summary_html": "<p>x</p>"}
    publish(
        language="ar",
        pieces=[
            {**piece, "title": "مساء", "url": "https://example.org/ar"},
            {**piece, "title": "Oaks", "language": "en"},
        ],
    )
    [item] = json.loads(client.get("/field-notes/feed.json").data)["items"]
    html = item["content_html"]
    assert html_faults(html) == []
    assert html.startswith('<div lang="ar" dir="rtl">')
    assert re.search(r'<div lang="en" dir="ltr">\s*<h2>Oaks</h2>', html)
    assert re.search(r'href="https://example.org/ar" lang="en" dir="ltr">Read on', html)


def test_a_feed_has_no_need_of_our_styles(client: FlaskClient, publish: Any) -> None:
    """Columns stand right by what is in the elements, which is HTML of today, and no class."""
    body = markdown.html("|a|b|\n|-|-:|\n|x|1|\n\n- [x] done\n", base_url=None)
    publish(pieces=[{"title": "T", "tags": [], "full": True, "body_html": body}])
    [item] = json.loads(client.get("/field-notes/feed.json").data)["items"]
    html = item["content_html"]
    assert html_faults(html) == []
    assert '<td style="text-align: right">1</td>' in html and " align=" not in html
    assert "<ul>\n<li>☑ done" in html


def test_the_line_below_a_title_speaks_as_its_article(client: FlaskClient, publish: Any) -> None:
    """An article's date is as its language writes it, and in its order; one of an unknown language
    has the digest's date, and begins on its own side.
    """
    piece = {"tags": [], "summary_html": "<p>x</p>", "author": "Ada", "published": "2026-11-20"}
    publish(
        pieces=[
            {**piece, "title": "مساء", "language": "ar"},
            {**piece, "title": "Eichen", "language": "de"},
            {**piece, "title": "סיסים", "direction": "rtl"},
        ],
    )
    [item] = json.loads(client.get("/field-notes/feed.json").data)["items"]
    html = item["content_html"]
    assert html_faults(html) == []
    assert re.findall(r"<div( [^>]*)>\s*<h2>(\w+)</h2>\s*<p><em>(.*)</em></p>", html) == [
        (
            ' lang="ar" dir="rtl"',
            "مساء",
            '<span dir="auto">Ada</span>\u200f · \u200f<span dir="auto">20 نوفمبر 2026</span>',
        ),
        (' lang="de" dir="ltr"', "Eichen", "Ada · 20. November 2026"),
        (
            ' dir="rtl"',
            "סיסים",
            '<span dir="auto">Ada</span>\u200f · \u200f<span dir="auto">November 20, 2026</span>',
        ),
    ]
