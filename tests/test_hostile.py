"""Hostile tries, from the form to the mail as it arrives: they do no harm.

Line breaks in a name or a subject, script in an article or a name, forged and foreign links, and
a thousand sign-ups for one mailbox. Real web app, real sender, real SMTP receiver.
"""

from __future__ import annotations

import email
import email.policy
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.message import EmailMessage
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any, get_args

import pytest
from sqlalchemy import Engine, func, select

from newsletter import consent, store
from newsletter.digests import approve, articles, compose
from newsletter.errors import NewsletterError
from newsletter.links import Links, Purpose
from newsletter.sending import queue
from newsletter.subscriptions import publications
from newsletter.web import create_app
from newsletter.worker import Sender, smtp_pool

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.test import TestResponse

    from newsletter.config import Settings
    from newsletter.mail.sink import Sink
    from newsletter.store import Publication

VICTIM = "victim@example.org"
INJECTIONS = (
    f"Ada\r\nBcc: {VICTIM}",
    f"Ada\nBcc: {VICTIM}\n\n<b>Another body</b>",
    f"Ada\rBcc: {VICTIM}",
    f"Ada\x0b\x0c\x1c\x1d\x85\u2028\u2029Bcc: {VICTIM}",
    f"Ada\0\r\n.\r\nMAIL FROM:<{VICTIM}>",
    f"Ada%0d%0aBcc: {VICTIM}",
    f"=?utf-8?q?Ada=0D=0ABcc:_{VICTIM}?=",
    f'"Ada" <{VICTIM}>, Bob',
    "A" * 200,
)
SCRIPT = "<script>alert('owned')</script>"
SINGLE = ("from", "to", "subject", "date", "message-id", "reply-to", "sender", "cc", "bcc")


class House:
    """One installation with its web app, its sender and the receiver that its mail goes to."""

    def __init__(self, settings: Settings, engine: Engine, sink: Sink) -> None:
        self.settings = settings.model_copy(
            update={
                "smtp_url": type(settings.secret_key)(sink.url),
                "signup_limit": "1000000 per hour",
            }
        )
        self.engine, self.sink = engine, sink
        self.app: Flask = create_app(self.settings, engine)
        self.app.config["SIGNUP_ANSWER_AFTER"] = 0
        self.links = Links(settings.base_url, tuple(settings.all_secret_keys))

    def get(self, path: str, **more: Any) -> TestResponse:
        return self.app.test_client(use_cookies=False).get(path, buffered=True, **more)

    def post(self, path: str, **more: Any) -> TestResponse:
        return self.app.test_client(use_cookies=False).post(path, buffered=True, **more)

    def wording(self, slug: str = "field-notes") -> str:
        found = re.search(r'name="wording" value="([^"]+)"', self.get(f"/{slug}/").text)
        assert found
        return found[1]

    def sign_up(self, address: str, *, wording: str | None = None, **more: str) -> TestResponse:
        fields = {"email": address, "consent": "yes", "wording": wording or self.wording(), **more}
        return self.post("/field-notes/subscribe", data=fields)

    def send(self) -> list[EmailMessage]:
        """Everything in the outbox goes out; the mails that arrived by it."""
        before = len(self.sink.received)
        sender = Sender(self.engine, self.settings, smtp_pool(self.settings))
        sender.run(threading.Event(), until_idle=True)
        for each in self.sink.received[before:]:
            assert VICTIM not in each.recipients
            assert VICTIM not in each.sender
        return [checked(each.raw) for each in self.sink.received[before:]]

    def confirm(self, address: str, **more: str) -> EmailMessage:
        """Sign up and press the button behind the link; returns the welcome."""
        assert self.sign_up(address, **more).status_code == 200
        (mail,) = self.send()
        assert self.post(link_in(mail, "confirm")).status_code == 200
        (welcome,) = self.send()
        return welcome

    def mail_digest(self, subject: str, *sources: str) -> list[EmailMessage]:
        """A digest of these articles, sent to everybody."""
        now = datetime.now(UTC)
        with store.transaction(self.engine) as session:
            publication = publications.find(session, "field-notes")
            found = [articles.read(source, origin="article.md") for source in sources]
            numbers = [articles.save(session, each, now=now)[0].id for each in found]
            digest = compose.new(
                session, publication, subject=subject, intro=None, article_ids=numbers, now=now
            )
            approve.approve(session, digest, base_url=self.settings.base_url, now=now)
            queue.begin(session, digest, now=now)
        return self.send()

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of every table."""
        with store.reading(self.engine) as session:
            return {
                table.name: sorted(
                    (tuple(row) for row in session.execute(table.select())), key=repr
                )
                for table in store.Base.metadata.sorted_tables
            }


def checked(raw: bytes) -> EmailMessage:
    """The mail, after a look at its bytes: nothing in them can be taken for something else."""
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)|\0", raw)
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    head, _, _ = raw.partition(b"\r\n\r\n")
    assert all(re.match(rb"[A-Za-z-]+:|[ \t]+\S", line) for line in head.split(b"\r\n")), head
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(mail, EmailMessage)
    assert not mail.defects
    names = [name.lower() for name in mail]
    assert all(names.count(name) <= 1 for name in SINGLE)
    assert "bcc" not in names
    assert "cc" not in names
    assert len(mail["to"].addresses) == 1
    assert len(mail["from"].addresses) == 1
    return mail


def part(mail: EmailMessage, kind: str) -> str:
    found = mail.get_body((kind,))
    assert found is not None
    content: str = found.get_content()
    return content


def link_in(mail: EmailMessage, purpose: str) -> str:
    """The path of the link of this purpose in the text part."""
    found = re.search(rf"https://news\.example\.org(/{purpose}/[\w.-]+)", part(mail, "plain"))
    assert found, part(mail, "plain")
    return found[1]


class Reader(HTMLParser):
    """What a browser makes of a page: elements, attributes, text."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data


def harmless(source: str) -> Reader:
    """The page, after a look at what of it would run, load or take over something."""
    page = Reader(source)
    for tag, attributes in page.elements:
        if tag == "script" and attributes == {"type": "application/ld+json"}:
            continue  # data about the page: no browser runs it
        assert tag not in {"script", "iframe", "object", "embed", "base", "svg", "math"}, tag
        if tag == "meta":
            assert attributes.get("http-equiv", "").lower() != "refresh"
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            scheme = re.match(r"[\s\x00-\x20]*([a-zA-Z][\w+.-]*)\s*:", value)
            if name in ("href", "src", "action", "formaction") and scheme:
                assert scheme[1].lower() in {"http", "https", "mailto"}, value
            assert "javascript:" not in re.sub(r"\s", "", value.lower())
            assert "expression(" not in value.lower()
    return page


@pytest.fixture
def house(
    settings: Settings,
    engine: Engine,
    sink: Sink,
    make_publication: Callable[..., Publication],
) -> Iterator[House]:
    """An installation with the publication field-notes."""
    with store.transaction(engine) as session:
        make_publication(session)
    yield House(settings, engine, sink)
    # Whatever was tried, the consent log is whole and gives the states.
    with store.reading(engine) as session:
        consent.verify(session)


@pytest.mark.parametrize("name", INJECTIONS)
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_line_breaks_in_a_name(house: House, name: str) -> None:
    """Each letter to a reader with such a name has its own headers, one recipient and one body."""
    welcome = house.confirm("ada@example.net", name=name)
    (digest,) = house.mail_digest("The meadow in March", "# Green\n\nThe meadow is green.\n")
    assert house.post(link_in(digest, "preferences"), data={"action": "access"}).status_code < 500
    (access,) = house.send()
    for mail in (welcome, digest, access):
        assert mail["to"].addresses[0].addr_spec == "ada@example.net"
        assert [each.get_content_type() for each in mail.walk()] == [
            "multipart/alternative",
            "text/plain",
            "text/html",
        ]
        harmless(part(mail, "html"))


@pytest.mark.parametrize(
    "address",
    [
        f"ada@example.net\r\nBcc: {VICTIM}",
        f"ada@example.net, {VICTIM}",
        f"ada@example.net>\r\nRCPT TO:<{VICTIM}",
        f'"ada\r\nBcc: {VICTIM}"@example.net',
        "ada@example.net\0",
        f"<ada@example.net> <{VICTIM}>",
    ],
)
def test_line_breaks_in_an_address(house: House, address: str) -> None:
    """The form comes back with the error, nothing is kept and nothing is mailed."""
    before = house.rows()
    answer = house.sign_up(address)
    assert answer.status_code == 422
    harmless(answer.text)
    assert house.rows() == before
    assert house.send() == []


@pytest.mark.parametrize("subject", INJECTIONS[:-1])
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_line_breaks_in_a_subject(house: House, subject: str) -> None:
    """A digest's subject is one line, whatever was given; so is an article's title."""
    house.confirm("ada@example.net")
    title = subject.replace("\0", " ").encode("unicode_escape").decode().replace('"', '\\"')
    source = f'---\ntitle: "{title}"\n---\nThe meadow is green.\n'
    try:
        mails = house.mail_digest(subject, source)
    except NewsletterError:
        mails = house.mail_digest(subject, "# Green\n\nThe meadow is green.\n")
    (mail,) = mails
    assert str(mail["subject"]).isprintable()
    assert len(mail["subject"]) <= 300


@pytest.mark.parametrize("over", ["title", "from_name", "postal_address", "from_address"])
@pytest.mark.parametrize("text", INJECTIONS[:5])
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_line_breaks_in_a_publication(house: House, over: str, text: str) -> None:
    """Even what came into the database past all checks makes no header: clean mail, or no mail."""
    assert house.sign_up("ada@example.net").status_code == 200
    with store.transaction(house.engine) as session:
        publication = publications.find(session, "field-notes")
        value = f"{text}@example.org" if over == "from_address" else text
        setattr(publication, over, value)
    for mail in house.send():
        assert mail["to"].addresses[0].addr_spec == "ada@example.net"
    with store.reading(house.engine) as session:
        states = set(session.scalars(select(store.Delivery.state)))
    assert states <= {"accepted", "failed", "skipped"}


ARTICLE = f"""---
title: "River {SCRIPT} news"
author: 'Eve <img src=x onerror=alert(1)>'
summary: '{SCRIPT.replace("'", "''")} [click](javascript:alert(1))'
url: https://example.org/river
image: https://example.org/a.jpg
image_alt: '" onload="alert(1)'
image_credit: '<a href="javascript:alert(1)">me</a>'
tags: ['<svg onload=alert(1)>']
---
Some words. {SCRIPT}

<img src=x onerror="alert(1)"><iframe src="https://evil.example"></iframe>
<style>body {{ display: none }}</style><base href="https://evil.example/">
<svg><script>alert(1)</script></svg><math><mi xlink:href="javascript:alert(1)">x</mi></math>
<form action="https://evil.example"><input name="password"></form>

[one](javascript:alert(1)) [two](JaVaScRiPt:alert(1)) [three](&#106;avascript:alert(1))
[four](data:text/html;base64,PHNjcmlwdD4=) [five](vbscript:x) ![six](javascript:alert(1))

<a href="java
script:alert(1)" onclick="alert(1)" style="background:url(javascript:alert(1))">seven</a>
<meta http-equiv="refresh" content="0;url=https://evil.example">

Last words.
"""


@pytest.mark.parametrize("length", ["full", "teaser"])
def test_script_in_an_article_and_a_name(house: House, length: str) -> None:
    """Nothing of it runs: not in the mail, not in the archive, not on any page of the reader."""
    welcome = house.confirm("ada@example.net", name=SCRIPT)
    sources = [ARTICLE] if length == "full" else [ARTICLE, "# Green\n\nThe meadow is green.\n"]
    (mail,) = house.mail_digest(f"News {SCRIPT}", *sources)
    body = harmless(part(mail, "html"))
    assert "alert('owned')" in body.text  # shown as text, in the title
    if length == "full":
        assert "Some words." in body.text
        assert "Last words." in body.text
    assert "evil.example" not in part(mail, "html")
    harmless(part(welcome, "html"))
    with store.reading(house.engine) as session:
        digest = session.scalars(select(store.Digest.public_id)).one()
    for path in (
        "/",
        "/field-notes/",
        "/field-notes/archive/",
        f"/field-notes/archive/{digest}",
        link_in(mail, "preferences"),
        link_in(mail, "unsubscribe"),
    ):
        answer = house.get(path)
        assert answer.status_code == 200, path
        harmless(answer.text)
        policy = dict(
            directive.strip().partition(" ")[::2]
            for directive in answer.headers["Content-Security-Policy"].split(";")
        )
        assert policy.get("script-src", policy["default-src"]) in ("'self'", "'none'")


def test_script_in_a_form_that_comes_back(house: House) -> None:
    """What was typed is kept in the form, as text."""
    answer = house.sign_up(f'"><{SCRIPT}@example', name=f'" autofocus onfocus=alert(1) {SCRIPT}')
    assert answer.status_code == 422
    page = harmless(answer.text)
    values = [each.get("value", "") for tag, each in page.elements if tag == "input"]
    assert any("onfocus" in value for value in values)


def test_forged_and_foreign_links(house: House) -> None:
    """Links of others, of other purposes and with changes open nothing and change nothing."""
    house.confirm("ada@example.net", name="Ada Lovelace")
    assert house.sign_up("bob@example.net").status_code == 200
    house.send()
    now = datetime.now(UTC)
    with store.reading(house.engine) as session:
        ids = [
            *session.scalars(select(store.Delivery.public_id)),
            *session.scalars(select(store.Subscriber.public_id)),
            *session.scalars(select(store.Subscription.public_id)),
            *session.scalars(select(store.Publication.slug)),
            "1",
            "",
        ]
    foreign = Links(house.settings.base_url, ("f" * 40,))
    tokens: dict[Purpose, set[str]] = {purpose: set() for purpose in get_args(Purpose)}
    for purpose, found in tokens.items():
        for each in ids:
            found.add(foreign.token(purpose, each, at=now))
            # Ours, but made for something else.
            for other in tokens:
                if other != purpose:
                    found.add(house.links.token(other, each, at=now))
        good = house.links.token(purpose, ids[0], at=now)
        head, moment, signature = good.split(".")
        found |= {
            f"{head}.{moment}.",
            f"{head}..{signature}",
            f".{moment}.{signature}",
            f"{head[:-1]}A.{moment}.{signature}",
            f"{head}.{moment}.{signature[::-1]}",
            good[:-1],
            good + "AAAA",
            good.swapcase(),
            "A" * 5000,
            "%00",
            "%ff%fe",
            "%ED%A0%80",
            "..%2f..%2fetc%2fpasswd",
            "' OR '1'='1",
        }
    before = house.rows()
    for purpose, found in tokens.items():
        for token in sorted(found):
            for answer in (
                house.get(f"/{purpose}/{token}"),
                house.post(f"/{purpose}/{token}"),
                house.post(f"/{purpose}/{token}", data={"List-Unsubscribe": "One-Click"}),
                house.post(f"/{purpose}/{token}", data={"action": "forget", "sure": "yes"}),
            ):
                assert 400 <= answer.status_code < 500, (purpose, token, answer.status_code)
                assert "example.net" not in answer.text
                assert "Lovelace" not in answer.text
    assert house.rows() == before
    assert house.send() == []
    # The right one does open: what was refused was the link and not the route.
    with store.reading(house.engine) as session:
        name = session.scalars(select(store.Subscription.public_id)).first()
    assert (
        house.get(f"/unsubscribe/{house.links.token('unsubscribe', name, at=now)}").status_code
        == 200
    )


def test_a_link_of_one_reader_says_nothing_of_another(house: House) -> None:
    """Ada's own links show and change Ada's subscription, with Bob's address in every field."""
    house.confirm("ada@example.net")
    house.confirm("bob@example.net", name="Bob")
    first, second = house.mail_digest("March", "# Green\n\nThe meadow is green.\n")
    ada = first if "ada" in first["to"] else second
    path = link_in(ada, "unsubscribe")
    answer = house.post(
        f"{path}?email=bob@example.net", data={"email": "bob@example.net", "address": "bob"}
    )
    assert answer.status_code == 200
    with store.reading(house.engine) as session:
        query = select(store.Subscriber.address, store.Subscription.state).join(store.Subscription)
        assert dict(session.execute(query).all()) == {
            "ada@example.net": "unsubscribed",
            "bob@example.net": "confirmed",
        }


def test_a_strange_host_is_in_no_mail(house: House) -> None:
    """Links in mail come from base_url, whatever the request says of its host."""
    answer = house.post(
        "/field-notes/subscribe",
        data={"email": "ada@example.net", "consent": "yes", "wording": house.wording()},
        headers={
            "Host": "evil.example",
            "X-Forwarded-Host": "evil.example",
            "Forwarded": "host=evil.example",
        },
    )
    assert answer.status_code < 500
    house.send()
    for mail in house.sink.received:
        assert b"evil.example" not in mail.raw
    if answer.status_code == 200:
        assert len(house.sink.received) == 1


def variants(count: int) -> list[str]:
    """Spellings of ada@gmail.com: case, tags, dots, the provider's other name."""
    locals_ = ("ada", "Ada", "a.da", "ad.a", "a.d.a", "ADA", "aDa")
    domains = ("gmail.com", "GMAIL.com", "googlemail.com", "GoogleMail.Com")
    found = []
    for number in range(count):
        tag = "" if number % 3 == 0 else f"+{number}" if number % 3 == 1 else "+News"
        found.append(f"{locals_[number % 7]}{tag}@{domains[number % 4]}")
    return found


def test_a_thousand_sign_ups_for_one_mailbox(house: House) -> None:
    """From many clients at once, in all spellings: one mail, one page, and no other trace."""
    wording = house.wording()
    local = threading.local()

    def sign_up(address: str) -> tuple[int, bytes]:
        if not hasattr(local, "client"):
            local.client = house.app.test_client(use_cookies=False)
        fields = {"email": address, "consent": "yes", "wording": wording, "name": address}
        answer = local.client.post("/field-notes/subscribe", data=fields, buffered=True)
        return answer.status_code, answer.data

    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(sign_up, variants(1000)))
    (answer,) = answers
    assert answer[0] == 200
    assert len(house.send()) == 1
    assert len(house.sink.received) == 1
    with store.reading(house.engine) as session:
        assert session.scalar(select(func.count(store.Delivery.id))) == 1
        assert session.scalar(select(func.count(store.Subscriber.id))) == 1
        assert [entry.fields["type"] for entry in consent.entries(session)] == ["requested"]


def test_no_other_route_mails_the_mailbox_either(house: House) -> None:
    """Asking again from the link's page counts against the same limit as the form."""
    assert house.sign_up("ada@gmail.com").status_code == 200
    (mail,) = house.send()
    for _ in range(20):
        assert house.post(link_in(mail, "confirm"), data={"action": "again"}).status_code < 500
        assert house.sign_up("A.da+x@googlemail.com").status_code == 200
    assert house.send() == []
