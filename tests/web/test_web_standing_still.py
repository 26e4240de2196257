"""While the consent log has a fault nobody is signed up; leaving, denying and erasing go on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine
from werkzeug.test import TestResponse

from newsletter import store
from newsletter.config import Settings
from newsletter.consent import Keyring, checkpoint
from newsletter.consent.checkpoint_format import Checkpoint

CLOSED = "Signing up is closed for a while"


@pytest.fixture(params=["found by a verification", "an older database", "another database"])
def fault(request: pytest.FixtureRequest, engine: Engine, settings: Settings) -> Callable[[], None]:
    """Give the log a fault: what verify leaves behind, or a checkpoint that does not fit it."""
    keyring = Keyring.of(settings)
    keyring.create(settings.log_origin)

    def make() -> None:
        with store.transaction(engine) as session:
            if request.param == "found by a verification":
                checkpoint.halt(session, "position 0: the event is missing")
                return
            size = session.get_one(store.Installation, 1).log_size
        more = 1 if request.param == "an older database" else 0
        signed = Checkpoint(keyring.origin(1), size + more, b"r" * 32)
        keyring.keep_checkpoint(keyring.signer.sign(signed.text))

    return make


def closed(answer: TestResponse) -> bool:
    return answer.status_code == 503 and CLOSED in answer.text


def test_nobody_is_signed_up(
    client: FlaskClient,
    reader: store.Subscription,
    fault: Callable[[], None],
    sign_up: Callable[..., TestResponse],
    dump: Callable[[], object],
) -> None:
    """The form says so kindly, the same to everybody, and nothing is changed."""
    fault()
    before = dump()
    answers = [sign_up(address) for address in ("ada@example.net", "new@example.net")]
    assert all(closed(answer) for answer in answers)
    assert answers[0].data == answers[1].data
    assert int(answers[0].headers["Retry-After"]) > 0
    assert answers[0].headers["Cache-Control"] == "no-store"
    assert dump() == before


def test_nobody_is_confirmed_but_anybody_may_deny(
    client: FlaskClient,
    publication: store.Publication,
    fault: Callable[[], None],
    sign_up: Callable[..., TestResponse],
    confirm_path: Callable[..., str],
    subscription: Callable[..., store.Subscription],
) -> None:
    """Confirming is the second half of a sign-up; "this was not me" is a way of leaving."""
    sign_up("new@example.net")
    fault()
    link = confirm_path("new@example.net")
    assert client.get(link).status_code == 200
    assert closed(client.post(link))
    old = confirm_path("new@example.net", age=timedelta(days=20))
    assert closed(client.post(old, data={"action": "again"}))
    assert subscription("new@example.net").state == "pending"
    assert client.post(link, data={"action": "deny"}).status_code == 200
    assert subscription("new@example.net").state == "unsubscribed"


def test_whoever_confirmed_before_sees_it_still(
    client: FlaskClient,
    reader: store.Subscription,
    fault: Callable[[], None],
    confirm_path: Callable[..., str],
) -> None:
    """A second press on the button changes nothing, so nothing stands in its way."""
    fault()
    assert client.post(confirm_path("ada@example.net")).status_code == 200


@pytest.mark.parametrize("fields", [{"List-Unsubscribe": "One-Click"}, {}])
def test_leaving_works(
    client: FlaskClient,
    reader: store.Subscription,
    fault: Callable[[], None],
    path: Callable[..., str],
    subscription: Callable[..., store.Subscription],
    events: Callable[[], list[dict[str, Any]]],
    fields: dict[str, str],
) -> None:
    """By a mail program or by the button, and its event is in the log."""
    fault()
    assert client.post(path("unsubscribe", reader.public_id), data=fields).status_code == 200
    assert subscription("ada@example.net").state == "unsubscribed"
    assert events()[-1]["type"] == "withdrawn"


def test_preferences_let_leave_and_change_but_not_join(
    client: FlaskClient,
    engine: Engine,
    reader: store.Subscription,
    make_publication: Callable[..., store.Publication],
    fault: Callable[[], None],
    path: Callable[..., str],
    wording: Callable[..., str],
    subscription: Callable[..., store.Subscription],
) -> None:
    """Name, language and leaving are the reader's at any time; another publication has to wait."""
    with store.transaction(engine) as session:
        make_publication(session, slug="other", title="Other")
    version = wording("other")
    fault()
    page = path("preferences", reader.subscriber.public_id)
    assert client.get(page).status_code == 200
    join = {"action": "publications", "shown": "field-notes", "keep": "field-notes"}
    assert closed(client.post(page, data={**join, "join": "other", "wording-other": version}))
    details = {"action": "details", "name": "Ada L.", "language": "en"}
    assert client.post(page, data=details).status_code == 200
    assert subscription("ada@example.net").subscriber.name == "Ada L."
    assert client.post(page, data={"action": "access"}).status_code == 200
    leave = {"action": "publications", "shown": "field-notes"}
    assert client.post(page, data=leave).status_code == 200
    assert subscription("ada@example.net").state == "unsubscribed"


def test_being_forgotten_works(
    client: FlaskClient,
    engine: Engine,
    reader: store.Subscription,
    fault: Callable[[], None],
    path: Callable[..., str],
) -> None:
    """The page shows what is kept, and its button destroys it."""
    fault()
    page = path("access", reader.subscriber.public_id)
    assert client.get(page).status_code == 200
    assert client.get(f"{page}/data.json").status_code == 200
    answer = client.post(page, data={"action": "forget", "sure": "yes"})
    assert answer.status_code == 200
    with store.reading(engine) as session:
        assert session.query(store.Subscriber).count() == 0


def test_pages_can_be_looked_at(
    client: FlaskClient, digest: store.Digest, fault: Callable[[], None]
) -> None:
    """Reading stops at nothing."""
    fault()
    for address in (
        *("/", "/field-notes/", "/field-notes/archive/", "/field-notes/embed", "/healthz"),
        f"/field-notes/archive/{digest.public_id}",
        "/.well-known/consent-log/key",
    ):
        assert client.get(address).status_code == 200, address


def test_signing_up_goes_on_when_the_log_is_mended(
    client: FlaskClient,
    engine: Engine,
    settings: Settings,
    reader: store.Subscription,
    fault: Callable[[], None],
    sign_up: Callable[..., TestResponse],
) -> None:
    """No restart is needed."""
    fault()
    assert closed(sign_up("new@example.net"))
    (Keyring.of(settings).folder / "checkpoint").unlink(missing_ok=True)
    with store.transaction(engine) as session:
        checkpoint.go_on(session)
    assert sign_up("new@example.net").status_code == 200
    with store.transaction(engine) as session:
        assert checkpoint.sign(session, Keyring.of(settings), now=datetime.now(UTC))
