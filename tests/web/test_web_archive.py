"""The archive: what was sent, for everybody to read, without anybody's links."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from newsletter import i18n, store
from newsletter.config import Settings
from newsletter.digests import approve, articles, compose, markdown
from newsletter.mail.headings import headed
from newsletter.sending import queue
from newsletter.web import archive

Publish = Callable[..., store.Digest]


def test_a_digest_reads_as_a_web_page(client: FlaskClient, digest: store.Digest) -> None:
    """Headings, byline, picture with its text, full pieces and teasers."""
    text = client.get(f"/field-notes/archive/{digest.public_id}").text
    assert "<h1>High &lt;water&gt;</h1>" in text
    assert (
        '<h2 class="title"><a href="https://example.org/river">The river &amp; us</a></h2>' in text
    )
    assert 'src="https://example.org/heron.jpg" alt="A heron"' in text
    assert "<p>It rose.</p>" in text
    assert "<p>Six of them.</p>" in text
    assert "All of it." not in text
    assert "February 27, 2026" in text
    assert 'class="more" href="https://example.org/hedges"' in text


def test_sections_lead_and_outro(client: FlaskClient, publish: Publish) -> None:
    """A heading for each section once, articles one level below, the lead first and larger."""
    body = "<h4>Part</h4><p>One.</p><h6>Detail</h6><p>Two.</p>"
    digest = publish(
        pieces=[
            {"title": "Lead", "is_lead": True, "url": "https://example.org/1", "tags": []},
            {"title": "Near", "section": "Here", "tags": [], "full": True, "body_html": body},
            {"title": "Nearer", "section": "Here", "tags": []},
            {"title": "Far", "section": "There", "tags": []},
        ],
        outro_html="<p>Until next time.</p>",
    )
    text = client.get(f"/field-notes/archive/{digest.public_id}").text
    found = re.findall(r"<h([1-6])[^>]*>(?:<a [^>]*>)?([^<]+)", text)
    assert [(int(level), words) for level, words in found] == [
        (1, "High &lt;water&gt;"),
        (2, "Lead"),
        (2, "Here"),
        (3, "Near"),
        (4, "Part"),
        (5, "Detail"),
        (3, "Nearer"),
        (2, "There"),
        (3, "Far"),
        (2, "Get Field Notes by mail"),
    ]
    assert text.count('class="piece first"') == 1
    assert "<p>Until next time.</p>" in text


@given(st.lists(st.integers(1, 6), max_size=12), st.integers(2, 4))
def test_no_level_of_heading_is_skipped(levels: list[int], first: int) -> None:
    """Whatever an article begins with and jumps to, and the words stay."""
    source = "".join(f"<h{level}>{place}</h{level}>" for place, level in enumerate(levels))
    found = re.findall(r"<h(\d)>(\d+)</h(\d)>", headed(source, first))
    assert [words for _, words, _ in found] == [str(place) for place in range(len(levels))]
    before = first - 1
    for opened, _, closed in found:
        assert opened == closed
        assert first <= int(opened) <= min(before + 1, 6)
        before = int(opened)


def test_an_article_that_is_the_whole_digest(client: FlaskClient, publish: Publish) -> None:
    """Its title is the digest's: said once is enough."""
    piece = {"title": "One thing", "full": True, "body_html": "<h3>Part</h3>", "tags": []}
    digest = publish(subject="One thing", pieces=[piece])
    text = client.get(f"/field-notes/archive/{digest.public_id}").text
    assert len(re.findall("<h[1-6][^>]*>One thing", text)) == 1


def test_neighbours(client: FlaskClient, publish: Publish, now: datetime) -> None:
    """Each digest leads to the one before and the one after it, also of the same moment."""
    made = [publish(subject=f"Digest {n}", at=now + timedelta(days=n // 2)) for n in range(5)]
    for place, digest in enumerate(made):
        text = client.get(f"/field-notes/archive/{digest.public_id}").text
        links = dict(re.findall(r'rel="(prev|next)" href="[^"]*/(\w+)"', text))
        wanted = {"prev": place - 1, "next": place + 1}
        assert links == {
            name: made[at].public_id for name, at in wanted.items() if 0 <= at < len(made)
        }


def test_the_list_has_pages(client: FlaskClient, publish: Publish, now: datetime) -> None:
    """Newest first, some on each page, each digest on one; beyond the last there is none."""
    count = archive.LISTED + 3
    made = [publish(subject=f"No {n}", at=now + timedelta(days=20 * n)) for n in range(count)]
    pages = [client.get(f"/field-notes/archive/{query}").text for query in ("", "?page=2")]
    names = [name for text in pages for name in re.findall(r'archive/(\w{20})"', text)]
    assert names == [digest.public_id for digest in reversed(made)]
    assert 'rel="next" href="/field-notes/archive/?page=2"' in pages[0]
    assert 'rel="prev" href="/field-notes/archive/"' in pages[1]
    assert "page=3" not in pages[1]
    for number in ("0", "-1", "3", "99999999999"):
        assert client.get(f"/field-notes/archive/?page={number}").status_code == 404
    assert client.get("/field-notes/archive/?page=x").status_code == 200


def test_the_list_tells_when_and_what(client: FlaskClient, publish: Publish) -> None:
    """Year, day, subject and preheader."""
    publish(at=datetime(2025, 12, 24, 8, tzinfo=UTC), subject="Frost")
    publish(at=datetime(2026, 1, 7, 8, tzinfo=UTC), subject="Thaw", preheader="Mud & more")
    text = client.get("/field-notes/archive/").text
    assert re.findall(r'id="year-(\d+)"', text) == ["2026", "2025"]
    assert "December 24, 2025" in text
    assert "Mud &amp; more" in text
    german = client.get("/field-notes/archive/?lang=de").text
    assert "24. Dezember 2025" in german
    assert '<span lang="en" dir="ltr">Mud &amp; more</span>' in german


def test_a_digest_counts_from_when_it_went_out(
    client: FlaskClient, engine: Engine, publish: Publish, now: datetime
) -> None:
    """It may be approved long before its time; until all are queued the approval must do."""
    digest = publish(at=now)
    with store.transaction(engine) as session:
        found = session.get(store.Digest, digest.id)
        assert found
        found.queued_at = now + timedelta(days=30)
    path = f"/field-notes/archive/{digest.public_id}"
    assert "March 31, 2026" in client.get(path).text
    with store.transaction(engine) as session:
        found = session.get(store.Digest, digest.id)
        assert found
        found.queued_at = None
    assert "March 1, 2026" in client.get(path).text


def test_a_page_that_one_has_is_not_sent_again(client: FlaskClient, digest: store.Digest) -> None:
    """304 for its ETag; another language is another page."""
    for path in ("/field-notes/archive/", f"/field-notes/archive/{digest.public_id}"):
        first = client.get(path)
        headers = {"If-None-Match": first.headers["ETag"]}
        again = client.get(path, headers=headers)
        assert (again.status_code, again.data) == (304, b"")
        assert "Accept-Language" in first.headers["Vary"]
        assert client.get(f"{path}?lang=de", headers=headers).status_code == 200


def test_a_digest_speaks_its_language(client: FlaskClient, publish: Publish) -> None:
    """And runs in its direction; what is ours around it is marked when it speaks another one."""
    german = publish(language="de", preheader="Vorab")
    path = f"/field-notes/archive/{german.public_id}"
    page = client.get(path, headers={"Accept-Language": "fr"}).text
    assert '<html lang="de" dir="ltr">' in page
    assert '<article class="digest">' in page
    assert "1. März 2026" in page
    page = client.get(f"{path}?lang=fr").text
    assert '<html lang="fr" dir="ltr">' in page
    assert '<article class="digest" lang="de" dir="ltr">' in page
    assert 'lang="fr" dir="ltr"><time datetime="2026-03-01">1 mars 2026' in page
    arabic = publish(language="ar", subject="نشرة")
    page = client.get(f"/field-notes/archive/{arabic.public_id}").text
    assert '<article class="digest" lang="ar" dir="rtl">' in page
    assert '<html lang="en" dir="ltr">' in page


@pytest.mark.parametrize("language", i18n.languages())
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_links_keep_the_language(client: FlaskClient, digest: store.Digest, language: str) -> None:
    """Who chose a language on one page has it on the next; programs get addresses without it."""
    text = client.get(f"/field-notes/archive/{digest.public_id}?lang={language}").text
    assert f'<html lang="{language}"' in text
    assert f'class="name" href="/field-notes/?lang={language}"' in text
    canonical = f"https://news.example.org/field-notes/archive/{digest.public_id}"
    assert f'<link rel="canonical" href="{canonical}">' in text
    assert "feed.xml?" not in text
    others = re.findall(r'<a href="\?lang=(\w+)" lang="(\w+)"', text)
    assert {tag for tag, _ in others} == set(i18n.languages()) - {language}
    assert client.get("/field-notes/archive/?lang=tlh").text.count("lang=tlh") == 0


def test_nobody_is_in_it(
    client: FlaskClient, engine: Engine, settings: Settings, reader: store.Subscription
) -> None:
    """A digest that was sent to Ada: no public page and no feed knows her name, address or ids."""
    with store.transaction(engine) as session:
        publication = session.query(store.Publication).one()
        source = "---\ntitle: Rain\nurl: https://example.org/rain\n---\n\nIt *rained*.\n"
        article, _ = articles.save(
            session, articles.read(source, origin="x"), now=datetime.now(UTC)
        )
        digest = compose.new(
            session, publication, article_ids=[article.id], subject="Rain", intro="Hello.",
            now=datetime.now(UTC),
        )  # fmt: skip
        approve.approve(session, digest, base_url=settings.base_url, now=datetime.now(UTC))
        queue.begin(session, digest, now=datetime.now(UTC))
        while queue.piece(session, digest, now=datetime.now(UTC)):
            pass
        name = digest.public_id
        secrets = {
            "ada@example.net", "ada%40example.net", "Ada", reader.public_id,
            reader.subscriber.public_id,
            *(each.public_id for each in session.query(store.Delivery)),
        }  # fmt: skip
    assert len(secrets) > 6
    for path in ("", "archive/", f"archive/{name}", "feed.xml", "feed.json", "embed", "theme.css"):
        answer = client.get(f"/field-notes/{path}")
        assert answer.status_code == 200
        assert [secret for secret in secrets if secret in answer.text] == []
        assert not re.search("/(unsubscribe|preferences|access|confirm)/", answer.text)
    assert "rained" in client.get(f"/field-notes/archive/{name}").text


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("draft", 404),
        ("approved", 404),
        ("sending", 200),
        ("paused", 200),
        ("sent", 200),
        ("cancelled", 404),
    ],
)
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_only_what_went_out_is_public(
    client: FlaskClient, engine: Engine, digest: store.Digest, state: str, status: int
) -> None:
    """From the first mail on it can be read; before that, and cancelled, it cannot."""
    with store.transaction(engine) as session:
        found = session.get(store.Digest, digest.id)
        assert found
        found.state = state
    assert client.get(f"/field-notes/archive/{digest.public_id}").status_code == status
    listed = digest.public_id in client.get("/field-notes/archive/").text
    assert listed == (status == 200)


def test_a_digest_belongs_to_its_publication(
    client: FlaskClient, engine: Engine, digest: store.Digest, make_publication: Any
) -> None:
    """It is not found under another one, nor under a number."""
    with store.transaction(engine) as session:
        make_publication(session, slug="night-sky", title="The Night Sky")
    assert client.get(f"/night-sky/archive/{digest.public_id}").status_code == 404
    assert client.get("/field-notes/archive/1").status_code == 404
    assert digest.public_id not in client.get("/night-sky/archive/").text


def test_an_article_speaks_its_language(client: FlaskClient, publish: Publish) -> None:
    """On the page of a digest in another one; what is ours in it stays the page's."""
    pieces = [
        {"title": "مساء", "tags": [], "summary_html": "<p>كلمة</p>", "language": "ar",
         "url": "https://example.org/ar"},
        {"title": "Oaks", "tags": [], "summary_html": "<p>A word</p>", "language": "en"},
    ]  # fmt: skip
    made = publish(pieces=pieces)
    text = client.get(f"/field-notes/archive/{made.public_id}").text
    arabic, english = re.findall(r'<section class="piece[^>]*>', text)
    assert 'lang="ar" dir="rtl"' in arabic and "lang" not in english
    assert re.search(r'href="https://example.org/ar" lang="en" dir="ltr">Read on', text)


def test_what_the_letter_shows_the_page_shows(client: FlaskClient, publish: Publish) -> None:
    """Columns to the side that they are for, tasks, and tables that scroll by keyboard too."""
    body = markdown.html("|a|b|\n|:-|-:|\n|x|1|\n\n- [x] done\n", base_url=None)
    made = publish(pieces=[{"title": "T", "tags": [], "full": True, "body_html": body}])
    text = client.get(f"/field-notes/archive/{made.public_id}").text
    assert '<th class="to-left">a</th>' in text and '<td class="to-right">1</td>' in text
    assert '<ul class="tasks">' in text and " align=" not in text
    assert '<div class="scroll" role="group" tabindex="0" aria-label="Table"><table>' in text
    german = client.get(f"/field-notes/archive/{made.public_id}?lang=de").text
    assert 'aria-label="Tabelle"' in german


def test_an_article_of_an_unknown_language_begins_on_its_side(
    client: FlaskClient, publish: Publish
) -> None:
    """Nothing is said of its language; a date and a word of ours in it are the page's."""
    pieces = [
        {"title": "مساء", "tags": [], "summary_html": "<p>كلمة</p>", "direction": "rtl",
         "url": "https://example.org/ar", "author": "Ada", "published": "2026-11-20"},
    ]  # fmt: skip
    made = publish(pieces=pieces)
    text = client.get(f"/field-notes/archive/{made.public_id}").text
    assert re.search(r'<section class="piece[^>"]*" dir="rtl">', text)
    assert re.search(r'href="https://example.org/ar" lang="en" dir="ltr">Read on', text)
    assert '<span class="away" dir="rtl">: مساء' in text
    assert (
        '<p class="byline"><span dir="auto">Ada</span>\u200f · \u200f<span dir="auto">'
        '<time datetime="2026-11-20" lang="en" dir="ltr">November 20, 2026</time></span></p>'
    ) in text
