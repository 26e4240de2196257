"""The sign-up form: what it shows, what it takes, and that its answer tells nothing."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine

from newsletter import store
from newsletter.links import Links
from newsletter.subscriptions import publications

SignUp = Callable[..., Any]


def test_the_only_publication_is_the_start_page(
    client: FlaskClient, publication: store.Publication
) -> None:
    """With one publication, / shows its form; with two, it lists them."""
    assert client.get("/").text == client.get("/field-notes/").text


def test_several_publications_are_listed(
    client: FlaskClient, engine: Engine, publication: store.Publication, make_publication: Any
) -> None:
    """The start page names each publication and leads to its form."""
    with store.transaction(engine) as session:
        make_publication(session, slug="night-sky", title="The <Night> Sky")
    text = client.get("/").text
    assert 'href="/field-notes/"' in text
    assert 'href="/night-sky/"' in text
    assert "The &lt;Night&gt; Sky" in text


def test_an_installation_without_publications_says_so(client: FlaskClient, engine: Engine) -> None:
    """The first start of a service shows a page, not an error."""
    assert client.get("/").status_code == 200


def test_the_form_asks_for_consent(client: FlaskClient, publication: store.Publication) -> None:
    """The box is there, unticked, with today's wording and its policy linked."""
    text = client.get("/field-notes/").text
    assert "Sign up to receive the latest updates from Field Notes</h1>" in text
    assert re.search(r'<input id="email"[^>]*type="email"[^>]*autocomplete="email"', text)
    assert re.search(r'<input id="name"[^>]*type="text"[^>]*autocomplete="name"', text)
    box = re.search(r'<input id="consent"[^>]*>', text)
    assert box and 'type="checkbox"' in box[0] and "checked" not in box[0]
    assert re.search(r'I have read and agree to the <a href="https://example.org/privacy"', text)
    assert "I look forward to email updates from Field Notes." in text


def test_signing_up(
    client: FlaskClient, sign_up: SignUp, publication: store.Publication, mails: Any, events: Any
) -> None:
    """The form makes a pending subscription, a mail, and an event with all the evidence."""
    answer = sign_up(" Ada@Example.net ", name="Ada", headers={"User-Agent": "Browser/1\x7f (x)"})
    assert answer.status_code == 200
    assert "<h1>Thanks for signing up!</h1>" in answer.text
    (mail,) = mails("Ada@example.net")
    assert mail.letter == "confirmation"
    (event,) = events()
    assert event["type"] == "requested"
    assert event["address_as_entered"] == "Ada@Example.net"
    assert event["box_ticked"] is True
    assert event["wording"].startswith("I have read and agree to the Privacy Policy")
    assert event["form_url"] == "https://news.example.org/field-notes/"
    assert event["language"] == "en"
    assert event["client_address"] == "127.0.0.0/24"
    assert event["user_agent"] == "Browser/1 (x)"


def test_the_answer_does_not_tell(
    client: FlaskClient,
    sign_up: SignUp,
    reader: store.Subscription,
    confirm_path: Callable[..., str],
    subscription: Any,
    path: Callable[..., str],
    forget: Any,
) -> None:
    """New, waiting, confirmed, left, blocked, erased: the same bytes and the same headers."""
    for name in ("waiting", "left", "blocked", "erased"):
        sign_up(f"{name}@example.net")
    client.post(confirm_path("left@example.net"))
    client.post(path("unsubscribe", subscription("left@example.net").public_id))
    client.post(confirm_path("blocked@example.net"), data={"action": "deny"})
    forget("erased@example.net")
    answers = [
        sign_up(f"{name}@example.net", name="Somebody")
        for name in ("new", "waiting", "ada", "left", "blocked", "erased")
    ]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.data for answer in answers}) == 1
    assert len({str(sorted(answer.headers)) for answer in answers}) == 1
    assert b"example.net" not in answers[0].data


def test_a_thousand_sign_ups_for_one_address_are_one_mail(
    sign_up: SignUp, wording: Any, publication: store.Publication, mails: Any, events: Any
) -> None:
    """However often and however spelt, one mailbox gets one confirmation mail a day."""
    version = wording()
    for number in range(200):
        answer = sign_up(f"v.ic.tim+{number}@gmail.com", wording=version)
        assert answer.status_code == 200
    assert len(events()) == 1


def test_a_bad_address_comes_back_with_the_reason(
    client: FlaskClient, sign_up: SignUp, publication: store.Publication, dump: Any
) -> None:
    """422; the error stands beside its field and is tied to it; what was typed is kept."""
    before = dump()
    for typed in ("", "nobody", "a@b@c.example", "a b@example.net", "x" * 300 + "@example.net"):
        answer = sign_up(typed, name="Ada")
        assert answer.status_code == 422
        field = re.search(r'<input id="email"[^>]*>', answer.text)
        assert field and 'aria-describedby="email-fault"' in field[0]
        assert 'aria-invalid="true"' in field[0]
        assert f'value="{typed}"' in field[0]
        assert 'id="email-fault"' in answer.text
        assert '<a href="#email">' in answer.text
        assert 'value="Ada"' in answer.text
        assert re.search(r'<input id="consent"[^>]* checked', answer.text)
    assert dump() == before


def test_without_the_ticked_box_nothing_happens(
    client: FlaskClient, publication: store.Publication, wording: Any, dump: Any
) -> None:
    """422, and the input is kept."""
    before = dump()
    answer = client.post(
        "/field-notes/subscribe", data={"email": "ada@example.net", "wording": wording()}
    )
    assert answer.status_code == 422
    assert 'value="ada@example.net"' in answer.text
    assert 'id="consent-fault"' in answer.text
    assert "Tick this box" in answer.text
    assert not re.search(r'<input id="consent"[^>]* checked', answer.text)
    assert dump() == before


def test_an_old_wording_is_asked_again(
    client: FlaskClient, engine: Engine, sign_up: SignUp, wording: Any, publication: Any, dump: Any
) -> None:
    """A form that showed other words gets today's, unticked, with a sentence that says why."""
    old = wording()
    with store.transaction(engine) as session:
        publications.edit(session, "field-notes", privacy_version="2027-01")
    before = dump()
    for version in (old, "", "0" * 16):
        answer = sign_up("ada@example.net", wording=version)
        assert answer.status_code == 422
        assert "has changed since the form was shown" in answer.text
        assert f'name="wording" value="{wording()}"' in answer.text
        assert not re.search(r'<input id="consent"[^>]* checked', answer.text)
        assert 'value="ada@example.net"' in answer.text
    assert dump() == before
    assert sign_up("ada@example.net").status_code == 200


def test_a_program_that_fills_every_field_is_kept_out(
    client: FlaskClient, sign_up: SignUp, publication: store.Publication, dump: Any
) -> None:
    """The field that nobody sees gets the normal page, and nothing is stored."""
    good = sign_up("ada@example.net")
    before = dump()
    trapped = sign_up("bot@example.net", homepage="https://spam.example")
    assert trapped.data == good.data
    assert trapped.status_code == good.status_code
    assert dump() == before
    field = re.search(r'<div class="away"[^>]*>.*?</div>', client.get("/").text, re.DOTALL)
    assert field and 'aria-hidden="true"' in field[0]
    assert 'tabindex="-1"' in field[0] and 'autocomplete="off"' in field[0]


def test_a_name_stays_a_name(
    client: FlaskClient, sign_up: SignUp, publication: store.Publication, subscription: Any
) -> None:
    """Line ends and control characters go out of a name; a script in it is text."""
    name = "Ada\r\nBcc: all@example.org\0 <script>alert(1)</script>\u202e"
    sign_up("ada@example.net", name=name)
    kept = subscription("ada@example.net").subscriber.name
    assert kept == "Ada Bcc: all@example.org <script>alert(1)</script>"
    answer = sign_up("nobody", name="<script>alert(1)</script>")
    assert "<script>" not in answer.text
    assert "&lt;script&gt;" in answer.text
    assert sign_up("bob@example.net", name="x" * 201).status_code == 422


def test_a_title_cannot_bring_a_script(
    client: FlaskClient, engine: Engine, make_publication: Any
) -> None:
    """A publication's own texts are text too."""
    bad = '"><script>alert(1)</script>'
    with store.transaction(engine) as session:
        make_publication(session, title=bad, description=bad, postal_address=bad)
    for page in ("/", "/field-notes/", "/field-notes/embed", "/field-notes/archive/"):
        text = client.get(page).text
        assert "<script>" not in text
        assert "alert(1)</script>" not in text


def test_the_host_header_reaches_no_mail(
    client: FlaskClient, sign_up: SignUp, settings: Any, publication: Any, mails: Any, events: Any
) -> None:
    """Links and evidence are made of base_url, whatever host the visitor names."""
    sign_up(
        "ada@example.net",
        headers={
            "Host": "evil.example",
            "X-Forwarded-Host": "evil.example",
            "Forwarded": "host=evil.example",
        },
    )
    assert events()[0]["form_url"].startswith("https://news.example.org/")
    (mail,) = mails("ada@example.net")
    links = Links(settings.base_url, tuple(settings.all_secret_keys))
    assert links.url("confirm", mail.public_id, at=mail.created_at).startswith(
        "https://news.example.org/confirm/"
    )
    for page in ("/", "/field-notes/", "/field-notes/embed", "/field-notes/archive/", "/x"):
        assert "evil" not in client.get(page, headers={"Host": "evil.example"}).text


def test_the_pasted_form_works(
    client: FlaskClient, publication: store.Publication, mails: Any, events: Any
) -> None:
    """What the embed page gives out signs up from another site, without cookie or script."""
    page = client.get("/field-notes/embed")
    found = re.search(r"(?s)<textarea[^>]*>\n(.*?)</textarea>", page.text)
    assert found
    import html

    snippet = html.unescape(found[1])
    assert 'action="https://news.example.org/field-notes/subscribe?lang=en"' in snippet
    assert "<script" not in snippet
    assert "form-action 'self' https://news.example.org" in page.headers["Content-Security-Policy"]
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="(\w+)"', snippet))
    answer = client.post(
        "/field-notes/subscribe",
        data={"email": "ada@example.net", "consent": "yes", **hidden},
        headers={"Origin": "https://other.example", "Sec-Fetch-Site": "cross-site"},
    )
    assert answer.status_code == 200
    assert len(mails("ada@example.net")) == 1
    assert events()[0]["form_url"] == "https://news.example.org/field-notes/embed"


def test_loading_the_posted_address_again_shows_the_form(
    client: FlaskClient, publication: store.Publication
) -> None:
    """Somebody who opens the address that the form was posted to gets the form."""
    assert client.get("/field-notes/subscribe").text == client.get("/field-notes/").text


def test_recent_issues_invite(client: FlaskClient, digest: store.Digest) -> None:
    """The form's page shows what one would get."""
    text = client.get("/field-notes/").text
    assert f'href="/field-notes/archive/{digest.public_id}"' in text
    assert "High &lt;water&gt;" in text


def test_a_refused_form_does_not_wait_for_the_database(
    client: FlaskClient, engine: Engine, publication: store.Publication, wording: Any
) -> None:
    """A faulty form is answered while somebody else writes: it takes no write lock."""
    version = wording()
    with store.transaction(engine):
        answer = client.post("/field-notes/subscribe", data={"email": "nobody", "wording": version})
    assert answer.status_code == 422


def test_the_confirmation_link_is_good_for_days_only(
    client: FlaskClient, sign_up: SignUp, publication: Any, confirm_path: Any, settings: Any
) -> None:
    """An older one does not confirm."""
    sign_up("ada@example.net")
    age = timedelta(days=settings.confirm_days, minutes=1)
    assert client.post(confirm_path("ada@example.net", age=age)).status_code == 410


def test_the_time_does_not_tell(app: Flask, sign_up: SignUp, reader: store.Subscription) -> None:
    """An address that costs nothing is answered no sooner than a new one."""
    app.config["SIGNUP_ANSWER_AFTER"] = 0.4
    for address in ("new@example.net", "new@example.net"):
        begun = time.monotonic()
        assert sign_up(address).status_code == 200
        assert time.monotonic() - begun >= 0.4
