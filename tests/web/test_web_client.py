"""Who a client is: its address behind proxies, what is kept of it, and how much it may send."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine

from newsletter import store
from newsletter.config import Settings
from newsletter.errors import ConfigError
from newsletter.web import create_app
from newsletter.web.client import address_of, kept

TRUSTED = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("peer", "header", "client"),
    [
        ("203.0.113.9", "", "203.0.113.9"),
        # A stranger's header is not believed.
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        # What the client wrote itself is to the left of what the proxy added.
        ("10.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "10.9.9.9, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "1.1.1.1, nonsense", "10.0.0.1"),
        ("10.0.0.1", "1.1.1.1, unknown, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", ",,", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
        ("fd00::1", "[2001:db8::7]:443", "2001:db8::7"),
        ("fd00::1", "2001:db8::7", "2001:db8::7"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("fe80::1%eth0", "198.51.100.1", "fe80::1"),
        ("/run/socket", "198.51.100.1", None),
        ("", "198.51.100.1", None),
        (None, "198.51.100.1", None),
    ],
)
def test_the_address_is_the_last_that_no_trusted_proxy_stands_for(
    peer: str | None, header: str, client: str | None
) -> None:
    """X-Forwarded-For counts only from proxies that the settings trust, from the right."""
    found = address_of(peer, header, TRUSTED)
    assert (str(found) if found else None) == client


def test_how_much_is_kept_is_a_setting() -> None:
    """full, a network of /24 or /48, or nothing."""
    four, six = ip_address("203.0.113.9"), ip_address("2001:db8:1:2::7")
    assert (kept(four, "full"), kept(six, "full")) == ("203.0.113.9", "2001:db8:1:2::7")
    assert (kept(four, "truncated"), kept(six, "truncated")) == (
        "203.0.113.0/24",
        "2001:db8:1::/48",
    )
    assert (kept(four, "none"), kept(None, "full")) == (None, None)


@pytest.mark.parametrize(
    ("how", "trusted", "expected"),
    [
        ("full", [], "10.0.0.1"),
        ("full", TRUSTED, "198.51.100.1"),
        ("truncated", TRUSTED, "198.51.100.0/24"),
        ("none", TRUSTED, None),
    ],
)
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_the_evidence_obeys_the_settings(
    settings: Settings,
    engine: Engine,
    publication: store.Publication,
    wording: Any,
    events: Any,
    how: Any,
    trusted: Any,
    expected: str | None,
) -> None:
    """What the settings do not want is not in the log."""
    chosen = settings.model_copy(update={"client_address": how, "trusted_proxies": trusted})
    client = create_app(chosen, engine).test_client(use_cookies=False)
    answer = client.post(
        "/field-notes/subscribe",
        data={"email": "ada@example.net", "consent": "yes", "wording": wording()},
        headers={"X-Forwarded-For": "1.1.1.1, 198.51.100.1", "User-Agent": "x" * 1000},
        environ_overrides={"REMOTE_ADDR": "10.0.0.1"},
    )
    assert answer.status_code == 200
    (event,) = events()
    assert event.get("client_address") == expected
    assert event["user_agent"] == "x" * 300


@pytest.fixture
def limited(settings: Settings, engine: Engine, publication: store.Publication) -> FlaskClient:
    """An app that takes three sign-ups an hour from one client."""
    chosen = settings.model_copy(update={"signup_limit": "3 per hour"})
    return create_app(chosen, engine).test_client(use_cookies=False)


Post = Callable[..., Any]


def _post(limited: FlaskClient, peer: str, **headers: str) -> Any:
    return limited.post(
        "/field-notes/subscribe",
        data={"email": "nobody"},
        headers=headers,
        environ_overrides={"REMOTE_ADDR": peer},
    )


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_one_client_may_send_so_many_forms(limited: FlaskClient) -> None:
    """Beyond the limit: 429, a page, and when to try again. Looking stays free."""
    statuses = [_post(limited, "203.0.113.9").status_code for _ in range(4)]
    assert statuses == [422, 422, 422, 429]
    refused = _post(limited, "203.0.113.9")
    assert 0 < int(refused.headers["Retry-After"]) <= 3601
    assert "<h1>Please wait a little</h1>" in refused.text
    assert limited.get("/", environ_overrides={"REMOTE_ADDR": "203.0.113.9"}).status_code == 200
    assert _post(limited, "203.0.113.10").status_code == 422


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_forged_header_does_not_make_a_new_client(limited: FlaskClient) -> None:
    """Nobody escapes the limit by writing X-Forwarded-For."""
    headers = {"X-Forwarded-For": "198.51.100.1", "X-Real-IP": "198.51.100.1"}
    for _ in range(3):
        _post(limited, "203.0.113.9", **headers)
    headers = {"X-Forwarded-For": "198.51.100.2", "X-Real-IP": "198.51.100.2"}
    assert _post(limited, "203.0.113.9", **headers).status_code == 429


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_an_ipv6_client_is_its_network(limited: FlaskClient) -> None:
    """A /64 belongs to one client, who could take another address for each form."""
    statuses = [_post(limited, f"2001:db8:0:1::{n}").status_code for n in range(1, 5)]
    assert statuses == [422, 422, 422, 429]
    assert _post(limited, "2001:db8:0:2::1").status_code == 422


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_limits_hold_without_their_store(
    settings: Settings, engine: Engine, publication: store.Publication
) -> None:
    """While the shared store is away, each process counts by itself; nobody is let through."""
    chosen = settings.model_copy(
        update={"signup_limit": "3 per hour", "limit_storage": "redis://127.0.0.1:1"}
    )
    client = create_app(chosen, engine).test_client(use_cookies=False)
    statuses = [_post(client, "203.0.113.9").status_code for _ in range(4)]
    assert statuses == [422, 422, 422, 429]
    assert client.get("/").status_code == 200


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_store_for_limits_that_nobody_knows(settings: Settings, engine: Engine) -> None:
    """It stops the start, with the cure."""
    chosen = settings.model_copy(update={"limit_storage": "nope://host"})
    with pytest.raises(ConfigError, match="redis://host"):
        create_app(chosen, engine)


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_leaving_is_never_limited(
    client: FlaskClient, reader: store.Subscription, path: Callable[..., str]
) -> None:
    """A provider's few machines post for all of its users."""
    leave = path("unsubscribe", reader.public_id)
    for _ in range(400):
        assert client.post(leave).status_code == 200


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_trying_links_is_limited(client: FlaskClient, publication: store.Publication) -> None:
    """Other forms have a limit too, far above what a person needs."""
    statuses = [client.post("/confirm/nonsense").status_code for _ in range(301)]
    assert statuses == [404] * 300 + [429]
    assert client.post("/preferences/nonsense").status_code == 429


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_form_of_a_megabyte_is_not_read(
    client: FlaskClient, reader: store.Subscription, path: Callable[..., str]
) -> None:
    """413, a page, on every route that takes a form; also when there are thousands of fields."""
    urlencoded, multipart = "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"
    large = b"email=" + b"x" * 1_000_000
    many = b"&".join([b"a=1"] * 30_000)
    part = b'--b\r\nContent-Disposition: form-data; name="email"\r\n\r\n'
    for target in (
        "/field-notes/subscribe",
        path("preferences", reader.subscriber.public_id),
        path("access", reader.subscriber.public_id),
    ):
        answer = client.post(target, data=large, content_type=urlencoded)
        assert answer.status_code == 413
        assert "<h1>That was too much</h1>" in answer.text
        assert client.post(target, data=many, content_type=urlencoded).status_code == 413
        answer = client.post(target, data=part + large + b"\r\n--b--\r\n", content_type=multipart)
        assert answer.status_code == 413
