"""What a template does with a reader, found out at the approval: shown only, or looked at."""

from __future__ import annotations

import json
from typing import Any

import pytest
from freezing import LOOKING, NAMED, frozen

from newsletter.errors import BadInput
from newsletter.mail.frozen import SLOTS, FrozenLetter, fill, greeting
from newsletter.mail.letters import LetterError, of_files

READER = {
    "name": "Ada Lovelace",
    "greeting": "Hello Ada Lovelace,",
    "address": "Ada@example.org",
    "unsubscribe_url": "https://news.example.org/unsubscribe/1?a=1&b=2",
    "preferences_url": "https://news.example.org/preferences/1",
}
NOBODY = {**READER, "name": "", "greeting": "Hello,"}


def of(text: str = "", html: str = "", subject: str = "") -> Any:
    """A digest with one of these for a template, in place of the installed one."""
    parts = {"digest/body.txt": text, "digest/body.html": html, "digest/subject.txt": subject}
    return frozen(templates={name: source for name, source in parts.items() if source})


@pytest.mark.parametrize("language", ["en", "ar", "pt-BR"])
def test_the_installed_templates_only_show(language: str) -> None:
    """They are rendered once, whatever the language."""
    kept = frozen(language)
    assert kept["logic"] is None
    assert set(kept["slots"]) == {*SLOTS} - {"name"}
    assert READER["address"] in fill(kept, READER).text


@pytest.mark.parametrize(
    "source",
    [
        "{{ reader.name }}",
        "{{ reader['name'] }} {{ reader.name }} {{ greeting }}",
        "{{ greeting|wrap }} {{ reader.address|line }}",
        "{{ reader.name|string }} {{ 'Dear ' ~ reader.name }}",
        "{{ _('You are %(name)s, no?', name=reader.name) }}",
        "{{ 'Dear %s'|format(reader.name) }} {{ 'Dear %s' % reader.name }}",
        "{% set who = reader.name %}{% for n in [1, 2] %}{{ who }}{% endfor %}",
        "{% macro hi(who) %}Hi {{ who }}{% endmacro %}{{ hi(reader.name) }}",
        "{{ [reader.name, reader.address]|join(', ') }}",
        "{{ links.unsubscribe_url }} {{ digest.subject|upper }} {{ publication.title }}",
    ],
)
def test_showing_a_value_is_a_slot(source: str) -> None:
    """In each part: the letter is rendered once, and says what rendering it anew would say."""
    html = source.replace("{{ links", '<a href="{{ links').replace("_url }}", '_url }}">x</a>')
    for kept in (of(text=source), of(html=f"<p>{html}</p>"), of(subject=source)):
        assert kept["logic"] is None
        assert json.loads(json.dumps(kept)) == kept
        letter = fill(kept, READER)
        assert not any(token in "".join((letter.subject, letter.text, letter.html))
                       for token in kept["slots"].values())  # fmt: skip


@pytest.mark.parametrize(
    ("source", "wanted", "for_nobody"),
    [
        ("{% if reader.name %}Dear {{ reader.name }}{% else %}Hi{% endif %}",
         "Dear Ada Lovelace", "Hi"),
        ("{{ reader.name or 'you' }}", "Ada Lovelace", "you"),
        ("{{ reader.name|default('you', true) }}", "Ada Lovelace", "you"),
        ("{{ reader.name|upper }}!", "ADA LOVELACE!", "!"),
        ("{{ reader.name|lower }}!", "ada lovelace!", "!"),
        ("{{ reader.name.split()|first if reader.name else 'you' }}", "Ada", "you"),
        ("{{ reader.name|replace(' ', '_') }}!", "Ada_Lovelace!", "!"),
        ("{{ reader.name|length }}", "12", "0"),
        ("{{ reader.name|truncate(6, true, '~', 0) }}!", "Ada L~!", "!"),
        ("{{ reader.name[:3] }}!", "Ada!", "!"),
        ("{{ reader.name == 'Ada Lovelace' }}", "True", "False"),
        ("{{ 'Love' in reader.name }}", "True", "False"),
        ("{{ reader.name|string|lower == 'ada lovelace' }}", "True", "False"),
        ("{{ {'Ada Lovelace': 1}[reader.name]|default(0) }}", "1", "0"),
        ("{{ [reader.name]|select|list|length }}", "1", "0"),
        ("{{ reader.name + '!' }}", "Ada Lovelace!", "!"),
        ("{% for c in reader.name %}{{ c }}.{% endfor %}!", "A.d.a. .L.o.v.e.l.a.c.e.!", "!"),
        ("{{ reader.name|tojson }}", '"Ada Lovelace"', '""'),
        ("{{ reader.name|wordcount }}", "2", "0"),
        ("{% filter upper %}Hi {{ reader.name }}!{% endfilter %}", "HI ADA LOVELACE!", "HI !"),
        ("{% filter replace('a', 'o') %}{{ reader.name }}!{% endfilter %}", "Ado Loveloce!", "!"),
        ("{{ reader.address|urlencode }}", "Ada%40example.org", "Ada%40example.org"),
        ("{{ links.unsubscribe_url|e }}", READER["unsubscribe_url"].replace("&", "&amp;"), None),
        ("{% if reader.address is string %}yes{% else %}no{% endif %}", "yes", "yes"),
    ],
)  # fmt: skip
def test_looking_at_a_value_is_rendered_for_each(
    source: str, wanted: str, for_nobody: str | None
) -> None:
    """Whatever depends on the value gets the value."""
    kept = of(text=source)
    assert kept["logic"]
    assert kept["slots"] == {}
    assert json.loads(json.dumps(kept)) == kept
    letter = FrozenLetter(kept)
    assert letter.fill(READER).text == f"{wanted}\n"
    assert letter.fill(NOBODY).text == f"{wanted if for_nobody is None else for_nobody}\n"


def test_a_look_in_any_part_counts() -> None:
    """A condition in the subject, or in the HTML part."""
    choice = "{% if reader.name %}{{ reader.name }}{% else %}Friend{% endif %}"
    kept = of(subject=f"{choice}, news")
    assert fill(kept, READER).subject == "Ada Lovelace, news"
    assert fill(kept, NOBODY).subject == "Friend, news"
    kept = of(html=f"<p>{choice}</p>")
    assert ">Friend</p>" in fill(kept, NOBODY).html
    evil = {**READER, "name": "<script>alert(1)</script>{{ 7*7 }}"}
    assert "&lt;script&gt;alert(1)&lt;/script&gt;{{ 7*7 }}" in fill(kept, evil).html


def test_a_rendered_digest_stays_as_it_was_approved() -> None:
    """Its templates and their values are frozen with it; the installed ones are not asked."""
    kept = frozen(templates=LOOKING)
    assert kept["logic"]
    assert kept["logic"]["templates"]["digest/body.txt"] == LOOKING["digest/body.txt"]
    assert fill(kept, READER).text == "Dear Ada Lovelace!\n"
    # All other parts are as from the templates that were there.
    slotted = frozen()
    assert fill(kept, READER).html == fill(slotted, READER).html
    kept["logic"]["templates"]["digest/body.txt"] = "changed"
    assert fill(kept, READER).text == "changed\n"


def test_a_value_stays_on_its_line_there_too() -> None:
    """Control characters become a blank before a template sees them."""
    kept = of(subject="{{ reader.name|upper }}")
    assert fill(kept, {**READER, "name": "a\r\nBcc: b\u2028c"}).subject == "A BCC: B C"


def test_the_sandbox_holds() -> None:
    """A template that reaches for more than values is an error at the approval."""
    for source in ("{{ reader.__class__.__mro__ }}", "{{ ''.__class__.__base__ }}",
                   "{{ reader.update({'name': 1}) }}", "{{ nothing }}", "{% if %}"):  # fmt: skip
        with pytest.raises(LetterError):
            of(text=source)


def test_a_missing_value_of_a_rendered_digest_is_named() -> None:
    """As for one with slots."""
    with pytest.raises(BadInput, match="address, greeting"):
        fill(
            frozen(templates=LOOKING), {"name": "x", "unsubscribe_url": "u", "preferences_url": "p"}
        )


def test_slots_of_values_that_are_not_shown_are_not_kept() -> None:
    """What a letter does not hold needs no value."""
    kept = of(text="{{ reader.name }}", html="<p>x</p>")
    assert set(kept["slots"]) == {"name"}
    assert fill(kept, {"name": "Ada"}).text == "Ada\n"


def test_a_name_where_the_templates_show_it() -> None:
    """Also in the subject and in an attribute; "" for readers without one."""
    kept = frozen(templates=NAMED)
    assert kept["logic"] is None
    assert fill(kept, READER).subject == "Ada Lovelace, The wood in March"
    assert 'title="Ada Lovelace"' in fill(kept, READER).html
    assert 'title=""' in fill(kept, NOBODY).html
    assert fill(kept, NOBODY).text.startswith(greeting(None, "en"))


def test_templates_give_back_their_sources() -> None:
    """All that a letter is made of, the styles among it, as text."""
    sources = of_files("en").sources()
    assert {"digest/body.html", "_layout/letter.html", "_layout/style.css"} <= set(sources)
