"""An article as it comes in; and the first way in which it does: Markdown with a front matter.

The front matter is YAML between lines of --- (or TOML between lines of +++); without one, a first
line "# Title" names the article. What is wrong is said with the file and the field, and a field
that does not exist is refused: a misspelt "sumary" would otherwise be missed by every reader.
"""

from __future__ import annotations

import difflib
import re
import tomllib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

import yaml
from frontmatter.default_handlers import BaseHandler, YAMLHandler

from newsletter.digests import markdown, rawhtml
from newsletter.errors import BadInput
from newsletter.store import ArticleOrigin, BodyFormat

MAX_BYTES = 512 * 1024
_MAX_FRONT_MATTER = 16 * 1024  # characters
MAX_TAGS = 20
# Characters at most. A mail's subject or a title beyond these is a mistake in the file.
LONGEST = {
    "title": 300,
    "author": 200,
    "summary": 4000,
    "image_alt": 1000,
    "image_credit": 300,
    "tags": 50,
    "site": 200,
}
FIELDS = (
    *("title", "url", "published", "author", "summary"),
    *("image", "image_width", "image_height", "image_alt", "image_credit"),
    *("tags", "site", "language"),
)
_LARGEST_SIDE = 20_000  # pixels
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")
_TITLE_LINE = re.compile(r"\A\s*# +(.+?)[ #]*(?:\n|\Z)")
_ABSENT = ("", "~", "null")


@dataclass(frozen=True, kw_only=True)
class ArticleInput:
    """One article as it came in: checked, addresses absolute, `published` aware, by its author's
    clock.

    summary: Markdown beside a body of Markdown, plain text beside one of HTML, which is clean
    already. image_width, image_height: CSS pixels. site: the name of the site that it stands on.
    language: a BCP 47 tag. None for what nobody said.
    """

    title: str
    body: str
    url: str | None = None
    published: datetime | None = None
    author: str | None = None
    summary: str | None = None
    image: str | None = None
    image_width: int | None = None
    image_height: int | None = None
    image_alt: str | None = None
    image_credit: str | None = None
    tags: tuple[str, ...] = ()
    site: str | None = None
    language: str | None = None
    body_format: BodyFormat = BodyFormat.MARKDOWN
    origin: ArticleOrigin = ArticleOrigin.FILE


def pixels(text: str) -> int | None:
    """A width or a height out of what somebody wrote; None when it is none."""
    text = text.strip().removesuffix("px")
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else 0
    return number if 0 < number <= _LARGEST_SIDE else None


def language_tag(text: str) -> str | None:
    """`text` as a BCP 47 tag in its usual spelling; None when it is not shaped like one."""
    text = text.strip().replace("_", "-")
    if len(text) > 35 or not _LANGUAGE.fullmatch(text):
        return None
    first, *rest = text.lower().split("-")
    # RFC 5646 §2.1.1: en-US, zh-Hant.
    return "-".join([first, *({2: str.upper, 4: str.title}.get(len(p), str)(p) for p in rest)])


class _Toml(BaseHandler):
    """Front matter between lines of +++, read by the standard library."""

    FM_BOUNDARY = re.compile(r"^\+{3,}\s*$", re.MULTILINE)
    START_DELIMITER = END_DELIMITER = "+++"

    def load(self, fm: str) -> dict[str, Any]:
        return tomllib.loads(fm)


class _Yaml(YAMLHandler):
    """Front matter between lines of ---. Every value stays the text that was written.

    YAML's own types would make an article titled 1984 a number, and No a false.
    """

    def load(self, fm: str, **_kwargs: object) -> Any:
        return yaml.load(fm, Loader=yaml.BaseLoader)  # noqa: S506 (makes text, lists and maps only)


def read(text: str, *, origin: str) -> ArticleInput:
    """The article in `text`.

    origin: the file's name or address, for error messages.

    Raises BadInput that names origin, field and cure.
    """
    try:
        return _read(text)
    except BadInput as error:
        field = f"{error.field}: " if error.field else ""
        raise BadInput(f"{origin}: {field}{error}", error.field) from error


def _read(text: str) -> ArticleInput:
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise BadInput(f"is larger than {MAX_BYTES // 1024} KiB.")
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    fields, body = _parts(text)
    for name in fields:
        if name not in FIELDS:
            near = difflib.get_close_matches(str(name), FIELDS, n=1)
            cure = f"did you mean {near[0]}?" if near else f"the fields are {', '.join(FIELDS)}."
            raise BadInput(f"there is no such field; {cure}", _line(str(name))[:40])
    title = _words(fields, "title")
    heading = _TITLE_LINE.match(body)
    if heading and (title is None or _line(heading[1]) == title):
        title = title or _line(heading[1])[: LONGEST["title"]]
        body = body[heading.end() :]
    if not title:
        raise BadInput('is missing: write it into the front matter, or begin with "# "', "title")
    body = _without_controls(body).strip("\n")
    summary = _words(fields, "summary")
    if not body.strip() and not summary:
        raise BadInput("the article has neither text nor summary.", "body")
    url = _address(fields, "url", None)
    for name, source in (("body", body), ("summary", summary or "")):
        try:
            markdown.html(source, base_url=url)
        except BadInput as error:
            raise BadInput(str(error), name) from error
    return ArticleInput(
        title=title,
        body=body,
        url=url,
        published=_moment(fields),
        author=_words(fields, "author"),
        summary=summary,
        image=_address(fields, "image", url),
        image_width=_pixels(fields, "image_width"),
        image_height=_pixels(fields, "image_height"),
        image_alt=_words(fields, "image_alt"),
        image_credit=_words(fields, "image_credit"),
        tags=_tags(fields),
        site=_words(fields, "site"),
        language=_language(fields),
    )


def _parts(text: str) -> tuple[dict[str, Any], str]:
    """The front matter's fields and the Markdown after it."""
    start = text.lstrip()
    handler: BaseHandler = _Toml() if start.startswith("+++") else _Yaml()
    if not handler.detect(start):
        return {}, text
    try:
        front, body = handler.split(start)
    except ValueError as error:
        raise BadInput(f"the front matter has no closing {start[:3]} line.") from error
    if len(front) > _MAX_FRONT_MATTER:
        raise BadInput(f"the front matter is longer than {_MAX_FRONT_MATTER} characters.")
    try:
        fields = handler.load(front)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise BadInput(f"{line}the front matter is not YAML: {error.problem}.") from error
    except (yaml.YAMLError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadInput(f"the front matter cannot be read: {_line(str(error))[:200]}") from error
    if not fields:
        return {}, body
    if not isinstance(fields, Mapping):
        raise BadInput('the front matter must be lines of "field: value".')
    return dict(fields), body


def _without_controls(text: str) -> str:
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs"))


def _line(text: str) -> str:
    """`text` as one line: control characters gone, blanks and line ends made single blanks."""
    return " ".join(_without_controls(text).split())


def _words(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, str | int | float | date):
        raise BadInput("must be text.", name)
    text = _line(str(value))
    if text in _ABSENT:
        return None
    if name in LONGEST and len(text) > LONGEST[name]:
        raise BadInput(f"is longer than {LONGEST[name]} characters.", name)
    return text


def _address(fields: Mapping[str, Any], name: str, base_url: str | None) -> str | None:
    text = _words(fields, name)
    if text is None:
        return None
    address = rawhtml.absolute(text, base_url, mail=False)
    if address is None:
        relative = base_url is None and name == "image" and "://" not in text
        hint = " or, when the article has a url, relative to it" if relative else ""
        raise BadInput(f"must be an address that starts with https:// or http://{hint}.", name)
    return address


def _pixels(fields: Mapping[str, Any], name: str) -> int | None:
    text = _words(fields, name)
    if text is None:
        return None
    number = pixels(text)
    if number is None:
        raise BadInput("must be a number of pixels, such as 1200.", name)
    return number


def _language(fields: Mapping[str, Any]) -> str | None:
    text = _words(fields, "language")
    if text is None:
        return None
    tag = language_tag(text)
    if tag is None:
        raise BadInput("must be a language tag such as en or pt-BR.", "language")
    return tag


def _moment(fields: Mapping[str, Any]) -> datetime | None:
    """`published`; a date is its midnight, a time without a zone is meant in UTC."""
    value: Any = fields.get("published")
    if not isinstance(value, date):  # TOML has dates of its own
        text = _words(fields, "published")
        if text is None:
            return None
        try:
            value = datetime.fromisoformat(text)
        except ValueError as error:
            raise BadInput(
                f'"{text[:40]}" is not a date; write it as 2026-03-01 or 2026-03-01 09:30.',
                "published",
            ) from error
    if not isinstance(value, datetime):
        value = datetime.combine(value, time(), UTC)
    moment: datetime = value.replace(tzinfo=UTC) if value.tzinfo is None else value
    try:
        moment.astimezone(UTC)
    except OverflowError as error:
        raise BadInput("is a date that no calendar has.", "published") from error
    return moment


def _tags(fields: Mapping[str, Any]) -> tuple[str, ...]:
    value = fields.get("tags")
    if value is None:
        return ()
    items = value if isinstance(value, list) else str(value).split(",")
    tags = dict.fromkeys(tag for item in items if (tag := _words({"tags": item}, "tags")))
    if len(tags) > MAX_TAGS:
        raise BadInput(f"are more than {MAX_TAGS}.", "tags")
    return tuple(tags)
