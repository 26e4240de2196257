"""The archive: what was sent, for everybody to read, without anybody's links."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine

from newsletter import store


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


def test_no_readers_links_stand_in_it(client: FlaskClient, digest: store.Digest) -> None:
    """Nobody can be unsubscribed from the archive."""
    text = client.get(f"/field-notes/archive/{digest.public_id}").text
    assert not re.search("/(unsubscribe|preferences|access|confirm)/", text)


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
