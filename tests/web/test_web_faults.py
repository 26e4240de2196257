"""Errors: each a kind page with the right status, and nothing of the visitor in the log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine

from newsletter import store
from newsletter.config import Settings
from newsletter.web import create_app


def test_health(client: FlaskClient, engine: Engine) -> None:
    """200 while the database answers."""
    answer = client.get("/healthz")
    assert answer.status_code == 200
    assert answer.mimetype == "text/plain"


def test_a_lost_database_is_said_kindly(
    settings: Settings, tmp_path: Path, path: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    """503 with when to come back, on pages and for the watchdog; the log holds no link."""
    engine = store.connect(f"sqlite:///{tmp_path / 'gone' / 'newsletter.db'}")
    client = create_app(settings, engine).test_client()
    assert client.get("/healthz").status_code == 503
    link = path("unsubscribe", "0" * 20)
    for address in ("/", "/field-notes/", "/field-notes/subscribe", link):
        answer = client.get(address)
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert "<h1>We will be back in a moment</h1>" in answer.text
    assert client.post(link).status_code == 503
    assert link.split("/")[-1] not in "".join(capfd.readouterr())
    engine.dispose()


def test_unknown_pages(client: FlaskClient, publication: store.Publication) -> None:
    """404 with a way on; a wrong method says which are right."""
    for address in ("/nothing/", "/a/b/c", "/favicon.ico", "/field-notes/archive/x", "/static/x"):
        answer = client.get(address)
        assert answer.status_code == 404
        assert "<h1>This page does not exist</h1>" in answer.text
        assert 'href="/field-notes/"' in answer.text
    answer = client.delete("/field-notes/")
    assert answer.status_code == 405
    assert "GET" in answer.headers["Allow"]


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_fault_of_ours_tells_nothing(
    app: Flask, engine: Engine, capfd: pytest.CaptureFixture[str]
) -> None:
    """500, a page; the log gets the place, and neither the text of the error nor the path."""

    def broken(link: str) -> str:
        raise ValueError(f"ada@example.net {link}")

    app.add_url_rule("/broken/<link>", "broken", broken)
    answer = app.test_client().get("/broken/secret-token")
    assert answer.status_code == 500
    assert "<h1>Something went wrong on our side</h1>" in answer.text
    assert "Content-Security-Policy" in answer.headers
    said = "".join(capfd.readouterr())
    assert "ValueError" in said
    assert "test_web_faults.py" in said
    assert "ada@example.net" not in said
    assert "secret-token" not in said


def test_the_prefix_of_base_url(
    settings: Settings, engine: Engine, publication: store.Publication
) -> None:
    """Behind a path, pages and links keep it, whether the proxy takes it off or not."""
    below = settings.model_copy(update={"base_url": "https://example.org/letters"})
    client = create_app(below, engine).test_client()
    for address in ("/letters/field-notes/", "/field-notes/"):
        answer = client.get(address)
        assert answer.status_code == 200
        assert 'action="/letters/field-notes/subscribe"' in answer.text
        assert 'href="/letters/static/style.css' in answer.text
    assert client.get("/field-notes").headers["Location"] == "/letters/field-notes/"
    assert client.get("/letters").status_code == 200


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_the_app_from_the_environment(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """wsgi.py starts with a good installation, and refuses a wrong one at once."""
    from newsletter.errors import SchemaError
    from newsletter.web import create_app_from_environment

    monkeypatch.chdir(tmp_path)
    values: dict[str, Any] = {
        "BASE_URL": settings.base_url,
        "SECRET_KEY": settings.secret_key.get_secret_value(),
        "HASH_KEY": settings.hash_key.get_secret_value(),
        "DATABASE_URL": settings.database_url,
    }
    for name, value in values.items():
        monkeypatch.setenv(f"NEWSLETTER_{name}", value)
    app = create_app_from_environment()
    assert app.test_client().get("/healthz").status_code == 200
    app.extensions["newsletter"].engine.dispose()
    monkeypatch.setenv("NEWSLETTER_HASH_KEY", "x" * 32)
    with pytest.raises(SchemaError):
        create_app_from_environment()
    monkeypatch.setenv("NEWSLETTER_DATABASE_URL", f"sqlite:///{tmp_path / 'other.db'}")
    with pytest.raises(SchemaError):
        create_app_from_environment()
