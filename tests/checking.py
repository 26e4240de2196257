"""What the tests of the gate share: a good letter, and the same with something wrong in it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import cache

from freezing import BASE, PUBLICATION

from newsletter.digests.check import Built, Facts, Finding, check, read
from newsletter.digests.content import Content, Piece
from newsletter.digests.freeze import freeze
from newsletter.links import Links
from newsletter.sending.edition import Edition, Reader, Sender
from newsletter.sending.origin import Origin

FACTS = Facts(PUBLICATION["title"], PUBLICATION["postal_address"], "en", BASE)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

_BODY = "Every spring the same walk, past the same seven oaks above the tarn, with a notebook."
SWIFTS = Piece(
    title="When the swifts come",
    url="https://fieldnotes.example.org/swifts",
    author="Ada Byron",
    published="2026-02-20",
    summary_html="<p>They are back in the first week of May, and nobody hears them come.</p>",
    summary_text="They are back in the first week of May, and nobody hears them come.",
    image="https://fieldnotes.example.org/swifts.jpg",
    image_alt="Three swifts above a roof",
    image_credit="Ada Byron",
    image_width=1200,
    image_height=800,
    tags=("Birds",),
    is_lead=True,
)
OAKS = Piece(
    title="Counting oaks",
    url="https://fieldnotes.example.org/oaks",
    body_html=f"<p>{_BODY}</p><h3>What was new</h3><ul><li>Nothing.</li><li>A nest.</li></ul>"
    '<p>More is <a href="https://fieldnotes.example.org/map">on the map</a>.</p>',
    body_text="Every spring the same walk, past the same seven oaks above the tarn,\n"
    "with a notebook.\n\nWhat was new\n~~~~~~~~~~~~\n\n- Nothing.\n- A nest.\n\n"
    "More is on the map [1].\n\n[1] https://fieldnotes.example.org/map",
    full=True,
)
CONTENT = Content(
    subject="The wood in March",
    preheader="Seven oaks, and when the swifts come back.",
    intro_html="<p>Dear readers, this is what we saw in the last four weeks.</p>",
    intro_text="Dear readers, this is what we saw in the last four weeks.",
    pieces=(OAKS, SWIFTS),
)


@cache
def mail(content: Content = CONTENT, theme: str = "plain", accent: str = "#1f5f4a") -> bytes:
    """A mail of a digest that says `content`, as the sender writes it."""
    frozen = freeze(
        content,
        {**PUBLICATION, "language": content.language, "theme": theme, "accent_color": accent},
        archive_url=f"{BASE}/field-notes/archive/abc",
    )
    title, address = PUBLICATION["title"], "notes@example.org"
    sender = Sender("abc", "field-notes", title, title, address, None, None, content.language)
    edition = Edition(frozen, sender, Origin(Links(BASE, ("k" * 40,)), b"h" * 32))
    who = "ada@example.net"
    return edition.raw(Reader("Ada", who, who, "d", "<d@example.org>", NOW, "u", "p"))


def letter(content: Content = CONTENT, theme: str = "plain", accent: str = "#1f5f4a") -> Built:
    """The same, taken apart."""
    return read(mail(content, theme, accent))


def html(*pairs: tuple[str, str], of: Built | None = None) -> Built:
    """The good letter with parts of its HTML replaced; each of them must be there."""
    built = of or letter()
    for before, after in pairs:
        assert before in built.html, before
        built = replace(built, html=built.html.replace(before, after))
    return built


def with_html(markup: str) -> Built:
    """The good letter with `markup` at the begin of its body."""
    built = letter()
    begin = built.html.index(">", built.html.index("<body")) + 1
    return replace(built, html=built.html[:begin] + markup + built.html[begin:])


def with_style(css: str) -> Built:
    """The good letter with more in its style element."""
    return html(("</style>", f"{css}</style>"))


def with_text(text: str) -> Built:
    """The good letter with more at the end of its text part."""
    return replace(letter(), text=f"{letter().text}\n\n{text}\n")


def with_subject(subject: str) -> Built:
    """The good letter under another subject."""
    return replace(letter(), subject=subject)


def with_header(name: str, value: str | None) -> Built:
    """The good letter with another value of a header; None takes it away."""
    rest = tuple(each for each in letter().headers if each[0] != name)
    return replace(letter(), headers=rest if value is None else (*rest, (name, value)))


def findings(built: Built, facts: Facts = FACTS) -> list[Finding]:
    """What is wrong with it."""
    return check(built, facts)


def names(built: Built, facts: Facts = FACTS) -> list[str]:
    """The names of the rules that are broken, each once, in the order of the findings."""
    return list(dict.fromkeys(each.rule.name for each in findings(built, facts)))
