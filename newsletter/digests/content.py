"""What a digest says, as plain values: what the letter's template reads and what is frozen.

Everything in it is finished: HTML is cleaned already and safe to put into a page as it is, text
is wrapped already, addresses are absolute. Nothing here knows Markdown, rows or a reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

# A frozen digest is read years after it was written: the shape is named in it.
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One article as it stands in the letter.

    title: text, to be escaped. url, image: absolute http(s) addresses, or None.
    published: the date as ISO 8601 (2026-03-01), or None.
    summary_html, body_html: cleaned; headings in body_html start at h3, below the title's h2.
    summary_text, body_text: for the text part, wrapped, links as [1] with their list at the end.
    image: None too where body_html shows it already; then image_in_body is its address.
    image_alt: "" says that the picture is an ornament. image_width, image_height: its size in
    pixels as whoever offers it says, or None.
    full: the letter shows the body; otherwise it shows the summary and a link to `url`.
    section: the heading under which it stands, with those beside it that say the same; None for
    none. is_lead: it is shown larger than the rest. language: a BCP 47 tag; None for the digest's.
    direction: "rtl" or "ltr" of one whose language nobody knows, when that is not the digest's.
    """

    title: str
    url: str | None = None
    author: str | None = None
    published: str | None = None
    summary_html: str = ""
    summary_text: str = ""
    body_html: str = ""
    body_text: str = ""
    image: str | None = None
    image_alt: str = ""
    image_credit: str | None = None
    tags: tuple[str, ...] = ()
    full: bool = False
    image_width: int | None = None
    image_height: int | None = None
    section: str | None = None
    is_lead: bool = False
    language: str | None = None
    direction: str | None = None
    image_in_body: str | None = None

    @property
    def picture(self) -> str | None:
        """The address of its picture, wherever it stands: above its text or in it."""
        return self.image or self.image_in_body


@dataclass(frozen=True, kw_only=True)
class Content:
    """A whole digest: subject, introduction and pieces, in one language.

    preheader: the line that mail programs show beside the subject; text, to be escaped.
    intro_html is cleaned, intro_text wrapped; both "" when there is no introduction. The same
    holds for the outro, which stands after the last piece.
    """

    subject: str
    preheader: str = ""
    intro_html: str = ""
    intro_text: str = ""
    pieces: tuple[Piece, ...] = ()
    language: str = "en"
    outro_html: str = ""
    outro_text: str = ""

    def to_json(self) -> dict[str, Any]:
        """The same as a mapping that json.dumps takes; `from_json` reads it back."""
        fields = asdict(self)
        fields["pieces"] = [{**piece, "tags": list(piece["tags"])} for piece in fields["pieces"]]
        return {"version": VERSION, **fields}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Content:
        """The content that `to_json` wrote.

        Raises ValueError for another version: it was written by a newer newsletter.
        """
        if fields.get("version") != VERSION:
            raise ValueError(f"a digest's content of version {fields.get('version')!r}")
        values = {name: value for name, value in fields.items() if name != "version"}
        values["pieces"] = tuple(
            Piece(**{**piece, "tags": tuple(piece["tags"])}) for piece in values["pieces"]
        )
        return cls(**values)
