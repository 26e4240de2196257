"""What public pages tell programs: Open Graph and JSON-LD, complete, absolute and harmless."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine

from newsletter import store
from newsletter.web import cards

HOME = "https://news.example.org/field-notes/"


def graph(text: str) -> dict[str, str]:
    """The Open Graph properties of a page."""
    found = re.findall(r'<meta property="([^"]+)" content="([^"]*)">', text)
    assert len(dict(found)) == len(found)
    return {name: unescape(content) for name, content in found}


def thing(text: str) -> Any:
    """The JSON-LD of a page, as a browser cuts it out."""
    (found,) = re.findall(r'(?s)<script type="application/ld\+json">(.*?)</script>', text)
    return json.loads(found)


def test_a_digest_has_a_card(client: FlaskClient, digest: store.Digest) -> None:
    """Title, words, picture, date, site and address, as the Open Graph protocol names them."""
    url = f"{HOME}archive/{digest.public_id}"
    text = client.get(f"/field-notes/archive/{digest.public_id}").text
    assert graph(text) == {
        "og:type": "article",
        "og:title": "High <water>",
        "og:description": "What it carried",
        "og:url": url,
        "og:site_name": "Field Notes",
        "og:locale": "en_US",
        "og:image": "https://example.org/heron.jpg",
        "og:image:alt": "A heron",
        "article:published_time": "2026-03-01T12:00:00+00:00",
    }
    assert f'<link rel="canonical" href="{url}">' in text
    assert '<meta name="description" content="What it carried">' in text
    assert '<meta name="twitter:card" content="summary_large_image">' in text


def test_a_digest_is_a_thing_in_schema_orgs_words(
    client: FlaskClient, digest: store.Digest
) -> None:
    """An article with its publisher, and the articles that it is made of."""
    said = thing(client.get(f"/field-notes/archive/{digest.public_id}").text)
    assert said["@context"] == "https://schema.org"
    assert said["@type"] == "Article"
    assert said["headline"] == "High <water>"
    assert said["datePublished"] == "2026-03-01T12:00:00+00:00"
    assert said["inLanguage"] == "en"
    assert said["mainEntityOfPage"] == f"{HOME}archive/{digest.public_id}"
    publisher = {"@type": "Organization", "name": "Field Notes", "url": HOME}
    assert said["publisher"] == said["author"] == publisher
    assert said["isPartOf"] == {"@type": "Periodical", "name": "Field Notes", "url": HOME}
    assert said["hasPart"] == [
        {
            "@type": "Article",
            "headline": "The river & us",
            "url": "https://example.org/river",
            "author": {"@type": "Person", "name": "M. Okafor"},
            "datePublished": "2026-02-27",
            "image": "https://example.org/heron.jpg",
            "keywords": ["rivers"],
        },
        {"@type": "Article", "headline": "Hedges", "url": "https://example.org/hedges"},
    ]


def test_the_picture_is_the_leads(client: FlaskClient, publish: Callable[..., Any]) -> None:
    """With its size where it is known, also where it stands in the text; a digest without pictures
    has a plain card.
    """
    first = {"title": "A", "tags": [], "image": "https://example.org/a.jpg"}
    lead = {
        "title": "B", "tags": [], "image": "https://example.org/b.jpg", "is_lead": True,
        "image_width": 1200, "image_height": 630,
    }  # fmt: skip
    found = graph(_page(client, publish(pieces=[first, lead])))
    assert found["og:image"] == "https://example.org/b.jpg"
    assert (found["og:image:width"], found["og:image:height"]) == ("1200", "630")
    lead = {**lead, "image": None, "image_in_body": "https://example.org/c.jpg"}
    page = _page(client, publish(pieces=[first, lead]))
    assert graph(page)["og:image"] == thing(page)["image"][0] == "https://example.org/c.jpg"
    assert "https://example.org/c.jpg" in client.get("/field-notes/feed.json").text
    text = _page(client, publish(pieces=[{"title": "A", "tags": []}]))
    assert "og:image" not in graph(text)
    assert '<meta name="twitter:card" content="summary">' in text


def _page(client: FlaskClient, digest: store.Digest) -> str:
    return client.get(f"/field-notes/archive/{digest.public_id}").text


def test_a_publication_has_a_card(
    client: FlaskClient, engine: Engine, make_publication: Any
) -> None:
    """Its sign-up page and its archive; the logo is their picture."""
    with store.transaction(engine) as session:
        make_publication(
            session,
            description="Notes from the field. " * 30,
            logo_url="https://example.org/logo.png",
            logo_alt="Field Notes, a heron",
            logo_width=180,
            logo_height=48,
        )
    text = client.get("/field-notes/").text
    found = graph(text)
    assert found["og:type"] == "website"
    assert found["og:url"] == HOME
    assert found["og:image"] == "https://example.org/logo.png"
    assert found["og:description"].endswith("from the field.")
    assert len(found["og:description"]) <= 200
    said = thing(text)
    assert (said["@type"], said["name"], said["url"]) == ("Periodical", "Field Notes", HOME)
    assert said["publisher"]["logo"]["url"] == "https://example.org/logo.png"
    listed = client.get("/field-notes/archive/").text
    assert graph(listed)["og:url"] == f"{HOME}archive/"
    assert "ld+json" not in listed


@pytest.mark.parametrize("bad", ["</script><script>alert(1)</script>", '"><img src=x>', "<!--"])
def test_a_card_brings_nothing_into_the_page(
    client: FlaskClient, publish: Callable[..., Any], bad: str
) -> None:
    """Neither the attributes nor the JSON can be left, and what they say is what was meant."""
    piece = {"title": bad, "author": bad, "tags": [bad], "image": "https://example.org/a.jpg"}
    digest = publish(subject=bad, preheader=bad, pieces=[{**piece, "image_alt": bad}])
    text = _page(client, digest)
    assert text.count("<script") == text.count("</script>") == 1
    assert bad not in text
    assert graph(text)["og:title"] == graph(text)["og:image:alt"] == bad
    assert thing(text)["hasPart"][0]["headline"] == bad


@pytest.mark.parametrize(
    ("language", "expected"),
    [("en", "en_US"), ("de", "de_DE"), ("pt-BR", "pt_BR"), ("ar", "ar_EG"), ("xx-y", "en_US")],
)
def test_a_locale_has_a_territory(language: str, expected: str) -> None:
    """Open Graph knows no language without one."""
    card = cards.Card(url="u", title="t", site="s", language=language)
    assert dict(card.open_graph())["og:locale"] == expected
