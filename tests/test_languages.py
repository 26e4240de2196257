"""The languages that are shipped are whole and right in their form, and no word goes past them.

What a catalog lacks is named by: python tests/catalogs.py
"""

from __future__ import annotations

import gettext
import re
from email import message_from_bytes, policy
from email.message import EmailMessage
from html import unescape
from pathlib import Path
from typing import Any

import catalogs
import pytest
import unspoken
from babel import Locale
from babel.messages import Message
from babel.messages.plurals import get_plural
from flask import Flask
from flask.testing import FlaskClient
from markupsafe import escape as markup
from sqlalchemy import Engine
from werkzeug.test import TestResponse

from newsletter import consent, i18n, store
from newsletter.config import Settings
from newsletter.digests import suggest
from newsletter.links import Links
from newsletter.mail.frozen import greeting
from newsletter.sending.origin import Origin
from newsletter.sending.personal import letters
from newsletter.web import create_app

SHIPPED = ["de", "es", "fr"]
ROOT = catalogs.ROOT

PLACEHOLDER = re.compile(r"%\((\w+)\)[a-z]")
TAG = re.compile(r"<[^>]*>")
# How a message may end where its source ends so.
ENDS = {".": ".!", ":": ":", ")": ")"}
# Words for somebody whom one knows.
FAMILIAR = {
    "de": r"du|dich|dir|dein\w*|ihr habt|euch",
    "es": r"tú|te|tu|tus|ti|vosotros|os",
    "fr": r"tu|te|toi|ton|ta|tes",
}
# What reaches readers from modules; the rest speaks to operators, in plain English.
ROOMS = ("web", "mail", "digests", "consent", "subscriptions", "sending")
OPERATORS = (
    "mail/transport.py",
    "digests/check/*.py",
    "web/preview*.py",
    "digests/markdown.py",
    "digests/planning.py",
    "consent/checkpoint.py",
    "consent/receipt/verify_receipt.py",
    "sending/write.py",
    "subscriptions/importing/rows.py",
)


def forms(message: Message) -> list[str]:
    """What a catalog says for a message, in each of its plural forms."""
    return list(message.string) if isinstance(message.string, tuple) else [message.string]


def sources(message: Message) -> list[str]:
    """What the sources say: the message, or its singular and plural."""
    return list(message.id) if isinstance(message.id, tuple) else [message.id]


def test_four_languages() -> None:
    """English, and what has a catalog."""
    assert i18n.languages() == ("en", *SHIPPED)
    assert catalogs.languages() == SHIPPED


@pytest.mark.parametrize("language", SHIPPED)
def test_nothing_is_missing(language: str) -> None:
    """Each message of the sources is translated, in each plural form, and none is only guessed."""
    catalog = catalogs.read(language)
    said = {(message.id, message.context) for message in catalogs.messages(catalog)}
    wanted = {(message.id, message.context) for message in catalogs.messages(catalogs.extracted())}
    assert wanted - said == set(), "run: python tests/catalogs.py"
    assert said - wanted == set(), "said no longer; run: python tests/catalogs.py"
    assert [message.id for message in catalogs.untranslated(catalog)] == []
    assert catalog.obsolete == {}


@pytest.mark.parametrize("language", SHIPPED)
def test_plural_forms(language: str) -> None:
    """The catalog counts as the CLDR says its language does."""
    plural = get_plural(Locale.parse(language))
    catalog = catalogs.read(language)
    assert (catalog.num_plurals, catalog.plural_expr) == (plural.num_plurals, plural.plural_expr)


@pytest.mark.parametrize("language", SHIPPED)
def test_placeholders_and_markup(language: str) -> None:
    """A translation has the values, elements and brackets of its source, no more and no fewer."""
    catalog = catalogs.read(language)
    assert list(catalog.check()) == []
    for message in catalogs.messages(catalog):
        source = sources(message)[-1]
        for place, words in enumerate(forms(message)):
            # "one minute" may do without its number.
            optional = {"count", "num"} if len(forms(message)) > 1 and not place else set()
            wanted = set(PLACEHOLDER.findall(source))
            found = set(PLACEHOLDER.findall(words))
            assert wanted - optional <= found <= wanted, words
            assert sorted(TAG.findall(words)) == sorted(TAG.findall(source)), words
            assert words.count("[") == source.count("[") and words.count("]") == source.count("]")
            # Only placeholders: everything is formatted with %.
            assert "%" not in PLACEHOLDER.sub("", words), words


@pytest.mark.parametrize("language", SHIPPED)
def test_form(language: str) -> None:
    """No blank at an end, no straight quotes, and an end like that of the source."""
    for message in catalogs.messages(catalogs.read(language)):
        for words in forms(message):
            assert words == words.strip() and "  " not in words, words
            assert '"' not in TAG.sub("", words) and "'" not in words, words
            end = sources(message)[0][-1]
            if end in ENDS:
                assert words[-1] in ENDS[end], words


@pytest.mark.parametrize("language", SHIPPED)
def test_polite(language: str) -> None:
    """Readers are spoken to as Sie, usted and vous, everywhere."""
    familiar = re.compile(rf"\b({FAMILIAR[language]})\b", re.IGNORECASE)
    for message in catalogs.messages(catalogs.read(language)):
        for words in forms(message):
            assert not familiar.search(words), words


@pytest.mark.parametrize("language", ["fr"])
def test_french_signs_stay_with_their_words(language: str) -> None:
    """What French sets apart with a blank stands behind one at which no line breaks."""
    for message in catalogs.messages(catalogs.read(language)):
        for words in forms(message):
            assert not re.search(r"[^\u00a0][:;?!»](?!\w)|«[^\u00a0]", words), words


@pytest.mark.parametrize("language", SHIPPED)
def test_compiled(language: str) -> None:
    """The .mo file, which is shipped and read, says what the .po file says."""
    with catalogs.file(language, "mo").open("rb") as opened:
        compiled = gettext.GNUTranslations(opened)
    catalog = catalogs.read(language)
    for message in catalogs.messages(catalog):
        if isinstance(message.id, tuple):
            found = {compiled.ngettext(*message.id, number) for number in range(200)}
            assert found == set(forms(message))
        else:
            assert compiled.gettext(message.id) == message.string
    said = {key for key in compiled._catalog if key}  # type: ignore[attr-defined]
    assert len(said) == sum(len(forms(message)) for message in catalogs.messages(catalog))


def test_templates_say_nothing_by_themselves() -> None:
    """Every word for readers in a template goes through gettext: text, attributes, constants."""
    found = {
        str(path.relative_to(ROOT)): words
        for room in ("pages", "mail", "receipt")
        for path in sorted((ROOT / "templates" / room).rglob("*"))
        if path.suffix in (".html", ".txt") and (words := unspoken.in_template(path))
    }
    assert found == {}


def test_modules_say_nothing_by_themselves() -> None:
    """Sentences for readers go through gettext in the code too, and as constants."""
    code = ROOT / "newsletter"
    aside = {path for pattern in OPERATORS for path in code.glob(pattern)}
    # It hands on what templates and modules say.
    aside.add(code / "web" / "language.py")
    found = {
        str(path.relative_to(code)): words
        for room in ROOMS
        for path in sorted((code / room).rglob("*.py"))
        if path not in aside and (words := unspoken.in_module(path))
    }
    assert found == {}


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("a.html", "<p>Hello</p>", ["Hello"]),
        ("a.html", "<p>{{ _('Hello') }} · {{ name }}</p>", []),
        ("a.html", '<img alt="A heron"><a title="{{ _("On") }}">→</a>', ["A heron"]),
        ("a.html", "{% trans %}Hello{% endtrans %}<b>you</b>", ["you"]),
        ("a.html", "{{ button(url, 'Read on') }}{{ _('Read on') }}", ["Read on"]),
        ("a.html", "<style>p { color: red }</style><p class='one two'></p>", []),
        ("a.txt", "{{ title }}\nHello,\n", ["Hello,"]),
        ("a.py", '"""The docstring."""\nx = "You have left"\nraise E("Not for you")', None),
        ("a.py", 'log.info("It went well")\nx = _("You have left")', []),
        ("a.py", 'x = _(f"You have {left}")', None),
    ],
)
def test_what_is_found(tmp_path: Path, name: str, text: str, found: list[str] | None) -> None:
    """The search for such words finds them, and nothing else."""
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    words = (unspoken.in_module if name.endswith(".py") else unspoken.in_template)(path)
    assert words == found if found is not None else len(words) == 1


@pytest.mark.parametrize(
    ("language", "hello", "more"),
    [
        ("en", "Hello Ada,", "Ice and 1 more"),
        ("de", "Guten Tag Ada,", "Ice und 1 weiterer Artikel"),
        ("fr", "Bonjour Ada,", "Ice et 1 autre article"),
        ("es", "Hola, Ada:", "Ice y 1 artículo más"),
    ],
)
def test_a_digests_frame(language: str, hello: str, more: str) -> None:
    """What is ours in a digest speaks its language: the greeting, a subject that we suggest."""
    assert greeting("Ada", language) == hello
    assert suggest.subject(["Ice", "x" * 90], language=language) == more


# The journey of a reader, in one language and then in another.


@pytest.fixture
def app(settings: Settings, engine: Engine) -> Flask:
    """The web app of the test's installation, without its limits."""
    settings = settings.model_copy(update={"signup_limit": "10000 per hour"})
    app = create_app(settings, engine)
    app.config["SIGNUP_ANSWER_AFTER"] = 0
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A browser that keeps no cookie."""
    return app.test_client(use_cookies=False)


class Reader:
    """Ada, her browser, and her mailbox."""

    def __init__(self, client: FlaskClient, engine: Engine, settings: Settings) -> None:
        self._client = client
        self._engine = engine
        links = Links(settings.base_url, tuple(settings.all_secret_keys))
        self._origin = Origin(links, settings.hash_key_bytes)
        self._base = settings.base_url

    def get(self, path: str, asks_for: str) -> TestResponse:
        """A page, by a browser that asks for a language."""
        return self._client.get(path, headers={"Accept-Language": asks_for})

    def post(self, path: str, asks_for: str, **fields: str) -> TestResponse:
        """A form of hers."""
        return self._client.post(path, data=fields, headers={"Accept-Language": asks_for})

    def mail(self, letter: str) -> EmailMessage:
        """The newest letter of this name to her."""
        with store.reading(self._engine) as session:
            query = session.query(store.Delivery).filter_by(letter=letter)
            ids = [each.id for each in query.order_by(store.Delivery.id)]
            raw = letters(session, ids[-1:], self._origin)[ids[-1]].raw()
        return message_from_bytes(raw, policy=policy.default)

    def link(self, letter: str, purpose: str) -> str:
        """The path of the link for `purpose` in the newest such letter."""
        found = re.search(rf"{self._base}(/{purpose}/\S+)", text_of(self.mail(letter)))
        assert found
        return found[1]

    @property
    def language(self) -> str:
        """The language that is kept for her."""
        with store.reading(self._engine) as session:
            return session.query(store.Subscriber).one().language


def text_of(mail: EmailMessage, kind: str = "plain") -> str:
    part = mail.get_body((kind,))
    assert part is not None
    return str(part.get_content())


@pytest.fixture
def ada(
    client: FlaskClient,
    engine: Engine,
    settings: Settings,
    make_publication: Any,
) -> Reader:
    """Somebody at the page of a publication that is in English."""
    with store.transaction(engine) as session:
        make_publication(session, sends_welcome=True, sends_goodbye=True)
    consent.Keyring.of(settings).create(settings.log_origin)
    return Reader(client, engine, settings)


def said(language: str, words: str, **values: object) -> str:
    """How `language` says it."""
    found = i18n.translations(language).gettext(words)
    assert language == "en" or found != words
    return found % values


def check_page(answer: TestResponse, language: str, words: str, **values: object) -> None:
    """The page is in `language` and says this."""
    assert f'<html lang="{language}" dir="ltr">' in answer.text
    assert str(markup(said(language, words, **values))) in answer.text


def check_mail(mail: EmailMessage, language: str, subject: str, words: str) -> None:
    """The letter is in `language`, in its subject, its headers and both of its parts."""
    title = said(language, subject, title="Field Notes")
    # A header has plain blanks only.
    assert mail["Subject"] == title.replace("\u00a0", " ")
    assert mail["Content-Language"] == language
    told = said(language, words, title="Field Notes")
    assert told in text_of(mail).replace("\r\n", " ")
    html = unescape(text_of(mail, "html"))
    assert f'<html lang="{language}" dir="ltr"' in html
    assert f"<title>{title}</title>" in html


def wording(answer: TestResponse) -> str:
    found = re.search(r'name="wording" value="(\w+)"', answer.text)
    assert found
    return found[1]


SUBSCRIBE = "/field-notes/subscribe"
CONSENT = (
    "I have read and agree to the [Privacy Policy], "
    "and I look forward to email updates from %(title)s. "
    "I can withdraw my consent at any time."
)


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize(("first", "then"), [("de", "fr"), ("fr", "es"), ("es", "de")])
def test_a_reader_keeps_a_language(ada: Reader, engine: Engine, first: str, then: str) -> None:
    """Sign-up, letters and pages are in the language of the sign-up, whatever a browser asks for
    later; after a change on the preferences page all of them are in the new one."""
    page = ada.get("/field-notes/", f"{first}-XX,en;q=0.5")
    check_page(page, first, "Sign up to receive the latest updates from %(title)s",
               title="Field Notes")  # fmt: skip
    agreed = said(first, CONSENT, title="Field Notes")
    assert str(markup(agreed[agreed.index("]") + 1 :])) in page.text

    wrong = ada.post(SUBSCRIBE, first, email="ada", wording=wording(page))
    check_page(wrong, first, "Please check the form")
    check_page(wrong, first, "Tick this box to sign up. Without it we may not write to you.")
    check_page(wrong, first, "Enter an email address in the correct format, like name@example.org.")

    # The form is pasted into a site in the one language, and the browser asks for another.
    fields = {"email": "ada@example.net", "consent": "yes", "wording": wording(page)}
    ada.post(SUBSCRIBE, "en", **fields)
    assert ada.language == first
    check_mail(
        ada.mail("confirmation"),
        first,
        "Please confirm your subscription to %(title)s",
        "You get nothing else from us before you have confirmed.",
    )
    confirm = ada.link("confirmation", "confirm")
    check_page(ada.get(confirm, "en"), first, "Yes, confirm my subscription")
    check_page(ada.post(confirm, "en"), first, "Your subscription is confirmed")
    check_mail(
        ada.mail("welcome"),
        first,
        "Welcome to %(title)s",
        "Every mail has a link to leave with, and you need no reason.",
    )

    preferences = ada.link("welcome", "preferences")
    check_page(ada.get(preferences, "en"), first, "Your preferences")
    odd = ada.post(preferences, "en", action="details", name="Ada", language="tlh")
    check_page(odd, first, "Choose one of the languages in the list.")
    changed = ada.post(preferences, "en", action="details", name="Ada", language=then)
    check_page(changed, then, "Saved.")
    assert ada.language == then
    check_page(ada.get(preferences, "en"), then, "Your preferences")
    check_page(ada.post(preferences, "en", action="access"), then, "Please look into your mailbox")
    check_mail(
        ada.mail("access"),
        then,
        "Your private link for %(title)s",
        "Please do not pass this mail on.",
    )

    access = ada.link("access", "access")
    check_page(ada.get(access, "en"), then, "Your consent history")
    receipt = ada.post(access, "en", action="receipt-page")
    check_page(receipt, then, "What the operator states besides")
    # The words that were agreed to stay what they were.
    assert f'<blockquote lang="{first}">' in receipt.text

    ada.post(SUBSCRIBE, "en", **fields)
    check_mail(
        ada.mail("already-confirmed"),
        then,
        "You are already subscribed to %(title)s",
        "If you miss our mails, look into your spam folder, or read them here:",
    )
    assert ada.language == then

    leave = ada.link("welcome", "unsubscribe")
    check_page(ada.get(leave, "en"), then, "Leave %(title)s?", title="Field Notes")
    check_page(ada.post(leave, "en"), then, "You have left")
    check_mail(
        ada.mail("goodbye"),
        then,
        "You have left %(title)s",
        "Was it a mistake? You can sign up again here at any time:",
    )


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_an_operators_own_wording(ada: Reader, engine: Engine) -> None:
    """It is in the publication's language; a reader keeps the language of the page around it, and
    the record says in which language the words were."""
    with store.transaction(engine) as session:
        session.query(store.Publication).one().consent_wording = "I agree to [it]."
    page = ada.get("/field-notes/?lang=fr", "de")
    assert 'lang="fr"' in page.text and f'{SUBSCRIBE}?lang=fr"' in page.text
    fields = {"email": "ada@example.net", "consent": "yes", "wording": wording(page)}
    check_page(ada.post(f"{SUBSCRIBE}?lang=fr", "de", **fields), "fr", "Thanks for signing up!")
    assert ada.language == "fr"
    with store.reading(engine) as session:
        (entry,) = consent.entries(session)
    assert (entry.fields["wording"], entry.fields["language"]) == ("I agree to it.", "en")


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_the_form_to_paste(ada: Reader) -> None:
    """Whoever signs up on a site in German gets a page in German and keeps that language."""
    page = ada.get("/field-notes/embed?lang=de", "es")
    check_page(page, "de", "A form for your own site")
    assert markup(f'action="https://news.example.org{SUBSCRIBE}?lang=de"') in page.text
    assert markup(said("de", "Leave this field empty")) in page.text


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_publications_language(ada: Reader, engine: Engine) -> None:
    """Its pages are in its language for whoever asks for none that we have."""
    with store.transaction(engine) as session:
        session.query(store.Publication).one().language = "es"
    check_page(ada.get("/field-notes/archive/", "tlh"), "es", "Past digests")
    check_page(ada.get("/field-notes/archive/", "fr"), "fr", "Past digests")
