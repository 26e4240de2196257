"""What a visitor does with pages and mails: fill in forms, find the link, press the button."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from html.parser import HTMLParser
from urllib.parse import urljoin

from newsletter import fetch
from newsletter.errors import NewsletterError


class Lost(NewsletterError):
    """A visitor does not find what should be there; says what."""


@dataclass(frozen=True)
class Visitor:
    """Who signs up in the demo. answer: what becomes of the confirmation mail."""

    address: str
    name: str = ""
    answer: str = "confirm"  # "confirm", "deny" or "nothing"


VISITORS = (
    Visitor("ida@example.org", "Ida"),
    Visitor("osei@example.net", "Kwame Osei"),
    Visitor("gwen.pritchard@example.com", "Gwen Pritchard"),
    Visitor("leila+hedgerow@example.org", "Leila"),
    Visitor("zoë@example.com", "Zoë O'Neill"),
    Visitor("lukasz@example.net", "Łukasz Wróbel"),
    Visitor("hana@example.org", "佐藤 花"),
    Visitor("The.Cellist@example.com"),
    Visitor("eggs@example.net", "The baker's boy"),
    Visitor("aydin@example.org", "Mr Aydın <line 11>"),
    Visitor("forgetful@example.org", "Somebody busy", "nothing"),
    Visitor("stranger@example.com", "Somebody's prank", "deny"),
)


@dataclass
class Form:
    """A form of a page. fields: what a browser would send if nothing were typed or ticked."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)
    boxes: dict[str, str] = field(default_factory=dict)  # unticked, with what they send if ticked


class _Forms(HTMLParser):
    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.forms: list[Form] = []
        self.is_open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        name, value = values.get("name", ""), values.get("value", "")
        if tag == "form":
            self.forms.append(Form(urljoin(self.url, values.get("action", ""))))
            self.is_open = True
        elif tag == "input" and self.is_open and name:
            form = self.forms[-1]
            if values.get("type") == "checkbox" and "checked" not in values:
                form.boxes[name] = value or "on"
            else:
                form.fields[name] = value

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.is_open = False


def forms(page: fetch.Fetched) -> list[Form]:
    """The forms of a page, in their order."""
    parser = _Forms(page.url)
    parser.feed(page.body.decode())
    return parser.forms


def sign_up(form_url: str, visitor: Visitor) -> fetch.Fetched:
    """Fill in the sign-up form as the page has it, tick its box, send it."""
    found = [form for form in forms(_get(form_url)) if "email" in form.fields]
    if not found or not found[0].boxes:
        raise Lost(f"There is no sign-up form with an unticked box on {form_url}.")
    form = found[0]
    typed = {"email": visitor.address, "name": visitor.name}
    return _post(form.action, form.fields | form.boxes | typed)


def press(url: str, button: int) -> fetch.Fetched:
    """Open a page and press the button of one of its forms (0 is the first)."""
    found = forms(_get(url))
    if len(found) <= button:
        raise Lost(f"The page behind a link has no button {button + 1}.")
    return _post(found[button].action, found[button].fields)


def leave_with_one_click(raw: bytes) -> fetch.Fetched:
    """What a mail program does for "unsubscribe": RFC 8058 §3.1, from the headers alone."""
    message = message_from_bytes(raw, policy=policy.default)
    url = re.search(r"<(https?://[^>]+)>", str(message["List-Unsubscribe"] or ""))
    post = str(message["List-Unsubscribe-Post"] or "").strip()
    if url is None or post != "List-Unsubscribe=One-Click":
        raise Lost("The digest has no List-Unsubscribe and List-Unsubscribe-Post headers.")
    name, _, value = post.partition("=")
    return _post(url[1], {name: value})


def subject(raw: bytes) -> str:
    """A mail's subject."""
    return str(message_from_bytes(raw, policy=policy.default)["Subject"])


def link(raw: bytes, beginning: str) -> str | None:
    """The link in a mail's text part that stands bare on a line of its own."""
    part = message_from_bytes(raw, policy=policy.default).get_body(("plain",))
    lines = part.get_content().splitlines() if part else []
    return next((line.strip() for line in lines if line.strip().startswith(beginning)), None)


def _get(url: str) -> fetch.Fetched:
    return fetch.get(url, allow_private=True)


def _post(url: str, fields: dict[str, str]) -> fetch.Fetched:
    answer = fetch.post_form(url, fields, allow_private=True)
    if answer.status != 200:
        raise Lost(f"A form was answered with {answer.status} instead of 200.")
    return answer
