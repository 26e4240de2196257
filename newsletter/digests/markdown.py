"""Markdown becomes HTML for the letter and text for its text part, out of one token stream.

CommonMark with tables, strikethrough, footnotes, lists of tasks and of definitions, and bare web
addresses as links. HTML in the
source is allowed and cleaned. Whatever an article holds, the result is safe to put into a page, and
it is ready within a second: an article that would take longer is refused, with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.token import Token
from mdit_py_plugins.deflist import deflist_plugin
from mdit_py_plugins.footnote import footnote_plugin

from newsletter.digests import limits, plaintext, rawhtml
from newsletter.errors import BadInput

MAX_SIZE = 512 * 1024  # characters; a book chapter has 50,000
# Parsing costs time by the mark, not by the letter. Prose has one mark in thirty characters and one
# link in a few hundred, so that these are no limits for what a person writes.
MAX_MARKS = 30_000
MAX_LINKS = limits.MAX_LINKS
# Lists in lists count two levels each. For each open bracket the parser reads on until it met that
# many more, mark by mark: this bounds what 3,000 brackets without an end cost.
MAX_NESTING = 30
# A quote looks for its end line by line, and thousands of them in one another's way look at every
# line thousands of times. A book of 20,000 lines takes about 60,000 such steps.
MAX_STEPS = 120_000
# nh3 is quadratic in the depth of nesting, and cannot be interrupted.
MAX_DEPTH = 256
# A reference can be used again and again: a small source may say a lot.
MAX_OUTPUT = 4 * MAX_SIZE
# Each makes the parser look for its end as far as the paragraph goes.
_MAX_DECLARATIONS = 100

_MARK = re.compile(r"[\[\]()!*_~`|<>&\\^#+\n-]|\d[.)]\s")
_LINK = re.compile(r"\[|https?:", re.IGNORECASE)
_DECLARATION = re.compile(r"<[!?]")
_TOO_DENSE = "The text has more markup than an article needs."
_MAX_TOKENS = 2 * MAX_MARKS
_BARE_ADDRESS = re.compile(r"https?://[^\s<>\"]+", re.IGNORECASE)
_PUNCTUATION = ".,;:!?'*_~"
_TASK = re.compile(r"\[([ xX])\]\s+(?=\S)")
_ALIGN = re.compile(r"text-align:(left|right|center)")


@dataclass(frozen=True)
class _Parsed:
    tokens: list[Token]
    env: dict[str, Any]


def html(source: str, *, base_url: str | None) -> str:
    """The HTML of the Markdown `source`, cleaned: safe to put into a page or a letter as it is.

    base_url: what relative addresses are relative to (the article's own). Without it, or where
        none can be made, a link's words stay and a picture goes.

    Headings start at h3. Raises BadInput when the source is too large, too dense or too deep.
    """
    parsed = _parse(source, base_url)
    rendered = str(_parser().renderer.render(parsed.tokens, _parser().options, parsed.env))
    if len(rendered) > MAX_OUTPUT:
        raise BadInput("The text becomes too large: it repeats its links too often.", "body")
    if rawhtml.depth(rendered) > MAX_DEPTH:
        raise BadInput(
            f"The text is nested more than {MAX_DEPTH} levels deep, or has that many HTML tags "
            "that are not closed in the order in which they were opened.",
            "body",
        )
    limits.check_markup(rendered)
    return rawhtml.clean(rendered, own=base_url).strip()


def text(source: str, *, base_url: str | None) -> str:
    """The text part of the Markdown `source`: at most 72 columns, links as [1] listed at the end.

    Raises BadInput as `html` does, but for the depth of HTML, which text does not have.
    """
    return plaintext.write(_parse(source, base_url).tokens)


def opening(source: str, *, limit: int = 280) -> str:
    """The first sentences of `source` in at most `limit` characters, as one line of plain text."""
    return plaintext.opening(_parse(source, None).tokens, limit=limit)


def relative(source: str) -> list[str]:
    """The addresses of links and pictures in `source` that only mean something beside a url."""
    found: list[str] = []
    for token in _tokens(source, {}):
        for each in token.children or [token]:
            found += [str(each.attrs[key]) for key in ("href", "src") if key in each.attrs]
            if each.type in ("html_inline", "html_block"):
                for tag in rawhtml.TAG.finditer(each.content):
                    given = rawhtml.attributes(tag[3])
                    found += [given[key] for key in ("href", "src") if given.get(key)]
    return [
        address
        for address in dict.fromkeys(found)
        if not address.startswith("#")
        and rawhtml.absolute(address, None) is None
        and rawhtml.absolute(address, "https://a.example/") is not None
    ]


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"maxNesting": MAX_NESTING})
    parser.enable(["table", "strikethrough"]).use(footnote_plugin).use(deflist_plugin)
    # Footnotes without anchors: several articles stand in one letter, and mail programs do not
    # jump to anchors anyway.
    everywhere = ["paragraph", "reference", "blockquote", "list"]
    parser.block.ruler.before("table", "steps", _count_step, {"alt": everywhere})
    for name, rule in _FOOTNOTES.items():
        parser.add_render_rule(name, rule)
    return parser


def _count_step(state: StateBlock, _start: int, _end: int, _silent: bool) -> bool:
    """A block rule that matches nothing and ends a parse that goes on for too long."""
    steps = state.env["steps"] = state.env.get("steps", 0) + 1
    if steps > MAX_STEPS:
        raise BadInput(_TOO_DENSE, "body")
    return False


def _note_mark(_renderer: object, tokens: list[Token], place: int, *_rest: object) -> str:
    return f"<sup>[{tokens[place].meta['id'] + 1}]</sup>"


_FOOTNOTES: dict[str, Callable[..., str]] = {
    "footnote_ref": _note_mark,
    "footnote_block_open": lambda *_: "<hr>\n<ol>\n",
    "footnote_block_close": lambda *_: "</ol>\n",
    "footnote_open": lambda *_: "<li>",
    "footnote_close": lambda *_: "</li>\n",
    "footnote_anchor": lambda *_: "",
}


def _parse(source: str, base_url: str | None) -> _Parsed:
    env: dict[str, Any] = {}
    tokens = _tokens(source, env)
    for token in tokens:
        _settle(token, base_url)
    _mark_tasks(tokens)
    return _Parsed(tokens, env)


def _tokens(source: str, env: dict[str, Any]) -> list[Token]:
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    if len(source) > MAX_SIZE:
        raise BadInput(f"The text has more than {MAX_SIZE // 1024} KiB.", "body")
    if (
        len(_MARK.findall(source)) > MAX_MARKS
        or len(_LINK.findall(source)) > MAX_LINKS
        or len(_DECLARATION.findall(source)) > _MAX_DECLARATIONS
    ):
        raise BadInput(_TOO_DENSE, "body")
    source = limits.without_towers(source)
    limits.check_tables(source)
    tokens = _parser().parse(source, env)
    if len(tokens) + sum(len(token.children or ()) for token in tokens) > _MAX_TOKENS:
        raise BadInput(_TOO_DENSE, "body")
    return tokens


def _settle(token: Token, base_url: str | None) -> None:
    """Make one block ready for both outputs: headings lowered, HTML tidied, addresses absolute."""
    if token.type in ("heading_open", "heading_close"):
        token.tag = rawhtml.HEADINGS[token.tag]
    elif token.type == "html_block":
        token.content = rawhtml.tidy(token.content, base_url)
    elif token.type in ("th_open", "td_open"):
        align = _ALIGN.search(str(token.attrs.pop("style", "")))
        if align:
            token.attrs["align"] = align[1]
    elif token.type == "inline":
        token.children = _settle_inline(token.children or [], base_url)


def _mark_tasks(tokens: list[Token]) -> None:
    """Items that begin with [ ] or [x] get a box, and their lists a class that takes the bullet."""
    lists: list[Token] = []
    for item, inner, inline in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if item.type in ("bullet_list_open", "ordered_list_open"):
            lists.append(item)
        elif item.type in ("bullet_list_close", "ordered_list_close"):
            lists.pop()
        elif item.type == "list_item_open" and inner.type == "paragraph_open":
            first = inline.children[0] if inline.children else None
            found = _TASK.match(first.content) if first and first.type == "text" else None
            if first and found:
                first.content = f"{rawhtml.box(found[1] != ' ')} {first.content[found.end() :]}"
                if lists[-1].tag == "ul":
                    lists[-1].attrs["class"] = rawhtml.TASKS


def _settle_inline(tokens: list[Token], base_url: str | None) -> list[Token]:
    kept: list[Token] = []
    links: list[bool] = []  # for each open link, whether it is kept
    hidden: str | None = None
    for token in tokens:
        if token.type == "html_inline":
            name = rawhtml.opens_hidden(token.content)
            if hidden:
                hidden = None if token.content.lower().startswith(f"</{hidden}") else hidden
                continue
            hidden = name
            token.content = "" if name else rawhtml.tidy(token.content, base_url)
            kept.append(token)
        elif hidden:
            continue
        elif token.type == "link_open":
            address = rawhtml.absolute(str(token.attrs.get("href", "")), base_url)
            links.append(address is not None)
            if address is not None:
                token.attrs["href"] = address
                kept.append(token)
        elif token.type == "link_close":
            if links and links.pop():
                kept.append(token)
        elif token.type == "image":
            address = rawhtml.absolute(str(token.attrs.get("src", "")), base_url, mail=False)
            if address is not None:
                token.attrs["src"] = address
                kept.append(token)
        elif token.type == "text" and not links:
            kept.extend(_link_bare(token))
        else:
            kept.append(token)
    return kept


def _link_bare(token: Token) -> list[Token]:
    """`token` with the web addresses that stand bare in it made into links."""
    parts: list[Token] = []
    end = 0
    for found in _BARE_ADDRESS.finditer(token.content):
        address = _without_end(found[0])
        href = rawhtml.absolute(_parser().normalizeLink(address), None)
        if href is None:
            continue
        parts.append(_text(token.content[end : found.start()]))
        parts.append(Token("link_open", "a", 1, attrs={"href": href}, markup="autolink"))
        parts.append(_text(address))
        parts.append(Token("link_close", "a", -1, markup="autolink"))
        end = found.start() + len(address)
    if not parts:
        return [token]
    return [*parts, _text(token.content[end:])]


def _without_end(address: str) -> str:
    """`address` without what belongs to the sentence around it."""
    end = len(address)
    # "(see https://example.org/a)": the bracket closes the one outside.
    closing = address.count(")") - address.count("(")
    while end and (address[end - 1] in _PUNCTUATION or (address[end - 1] == ")" and closing > 0)):
        end -= 1
        closing -= address[end] == ")"
    return address[:end]


def _text(content: str) -> Token:
    return Token("text", "", 0, content=content)
