"""The production server: real sockets, real proxies' headers, and a clean end."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from newsletter import store
from newsletter.config import Settings
from newsletter.web import Server, create_app, make_server

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


@pytest.fixture
def server(settings: Settings, engine: Engine, publication: store.Publication) -> Iterator[Server]:
    """The app on a free port; loopback is a trusted proxy."""
    chosen = settings.model_copy(update={"client_address": "full"})
    chosen = Settings.model_validate({**chosen.model_dump(), "trusted_proxies": ["127.0.0.1/32"]})
    running = make_server(create_app(chosen, engine), "127.0.0.1", 0)
    thread = threading.Thread(target=running.run)
    thread.start()
    yield running
    running.close()
    thread.join(20)
    assert not thread.is_alive()


def _ask(server: Server, method: str, path: str, body: str = "", **headers: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.request(method, path, body or None, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


FORM = "application/x-www-form-urlencoded"


def test_a_trusted_proxy_is_believed_through_the_server(
    server: Server, wording: Any, events: Any
) -> None:
    """X-Forwarded-For reaches the app, and the server does not say what it is."""
    body = f"email=ada@example.net&consent=yes&wording={wording()}"
    headers = {"Content-Type": FORM, "X-Forwarded-For": "1.1.1.1, 198.51.100.7"}
    status, answered, text = _ask(server, "POST", "/field-notes/subscribe", body, **headers)
    assert status == 200
    assert "Thanks for signing up!" in text
    assert events()[0]["client_address"] == "198.51.100.7"
    assert "Server" not in answered
    assert "Set-Cookie" not in answered


def test_a_huge_body_is_refused(server: Server) -> None:
    """Far beyond the app's limit, the server itself does not store it."""
    status, _headers, _text = _ask(
        server, "POST", "/field-notes/subscribe", "x" * 300_000, **{"Content-Type": FORM}
    )
    assert status == 413


def test_what_is_being_answered_is_finished(database_kind: str) -> None:
    """close() stops listening, lets the request end, and only then returns."""
    entered, leave = threading.Event(), threading.Event()

    def slow(_environ: Any, start_response: Any) -> list[bytes]:
        entered.set()
        leave.wait(20)
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
        return [b"done\n"]

    server = make_server(slow, "127.0.0.1", 0, threads=2)
    running = threading.Thread(target=server.run)
    running.start()
    answers: list[Any] = []
    asking = threading.Thread(target=lambda: answers.append(_ask(server, "GET", "/")))
    asking.start()
    assert entered.wait(20)
    closing = threading.Thread(target=server.close)
    closing.start()
    time.sleep(0.2)
    assert running.is_alive()
    leave.set()
    for thread in (closing, running, asking):
        thread.join(20)
        assert not thread.is_alive()
    assert answers[0][0] == 200
    server.close()
    with pytest.raises(OSError):
        _ask(server, "GET", "/")


def test_a_server_that_never_ran_can_be_closed(database_kind: str) -> None:
    """Its port is free again."""

    def app(_environ: Any, _start: Any) -> list[bytes]:
        return []

    first = make_server(app, "127.0.0.1", 0)
    port = first.port
    assert first.url == f"http://127.0.0.1:{port}"
    threads = threading.active_count()
    with pytest.raises(OSError):
        make_server(app, "127.0.0.1", port)
    assert threading.active_count() == threads
    first.close()
    first.close()
    make_server(app, "127.0.0.1", port).close()


def test_sigterm_ends_it_cleanly(settings: Settings, engine: Engine, tmp_path: Path) -> None:
    """A stopped service exits by itself, with 0."""
    script = tmp_path / "serve.py"
    script.write_text(
        "import os\n"
        "from newsletter import config, store\n"
        "from newsletter.web import create_app_from_environment, serve\n"
        "app = create_app_from_environment()\n"
        "class Told:\n"
        "    def __call__(self, environ, start): return app(environ, start)\n"
        "print('ready', flush=True)\n"
        "serve(config.load().settings, host='127.0.0.1', port=0, app=Told())\n"
        "print('ended', flush=True)\n"
    )
    environ = {
        **os.environ,
        "NEWSLETTER_BASE_URL": settings.base_url,
        "NEWSLETTER_SECRET_KEY": settings.secret_key.get_secret_value(),
        "NEWSLETTER_HASH_KEY": settings.hash_key.get_secret_value(),
        "NEWSLETTER_DATABASE_URL": settings.database_url,
    }
    with subprocess.Popen(
        [sys.executable, str(script)], cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "ended\n"
        assert process.wait(20) == 0
