"""The sample publication's own website, as far as the demo needs one.

Articles lie there as Markdown (/swifts.md) and as pages (/swifts); so do the privacy policy that
the form links to, and the preview of the digest. A few lines of WSGI, for loopback only.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from importlib.resources import files
from typing import TYPE_CHECKING

from newsletter.digests import articles, markdown

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

# The articles' files name these; the real addresses are known when the demo runs.
_SITE = "https://site.example"
_PICTURES = "https://pictures.example"

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 1.1rem/1.6 Georgia, serif; max-width: 38rem; margin: 3rem auto; padding: 0 1rem }}
img {{ width: 100%; height: auto; border-radius: .5rem }}
h1 {{ line-height: 1.2 }}
table {{ border-collapse: collapse }}
td, th {{ padding: .2rem 1rem .2rem 0 }}
</style>
</head>
<body>
<p><a href="/">The Hedgerow Letter</a></p>
<main>{main}</main>
</body>
</html>
"""
_PRIVACY = """
# Privacy Policy

*This is the sample policy of a demo.*

We keep your address, your name if you tell it, and a record of what you agreed to and when. We use
them to send you this letter, and for nothing else. Nobody else gets them. Every letter has a link
with which you leave; your preferences page shows all that we keep about you, and forgets it when
you say so.
"""


class Site:
    """A WSGI app. pictures: where the articles' pictures lie; url: its own address, once known."""

    def __init__(self, pictures: str) -> None:
        self.pictures = pictures
        self.url = _SITE
        self.preview = ""

    def sources(self) -> list[str]:
        """The addresses of the articles' Markdown."""
        return [f"{self.url}/{name}.md" for name in sorted(_names())]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        found = self._answer(environ.get("PATH_INFO", "/").strip("/"))
        status, kind, text = ("200 OK", *found) if found else ("404 Not Found", "plain", "No.\n")
        body = text.encode()
        start_response(
            status,
            [
                ("Content-Type", f"text/{kind}; charset=utf-8"),
                ("Content-Length", str(len(body))),
                ("X-Content-Type-Options", "nosniff"),
            ],
        )
        return [body]

    def _answer(self, path: str) -> tuple[str, str] | None:
        if path == "":
            links = "".join(
                f'<li><a href="/{name}">{html.escape(self._read(name).title)}</a></li>'
                for name in sorted(_names())
            )
            return "html", _PAGE.format(title="The Hedgerow Letter", main=f"<ul>{links}</ul>")
        if path == "privacy":
            main = markdown.html(_PRIVACY, base_url=None)
            return "html", _PAGE.format(title="Privacy Policy", main=main)
        if path == "preview" and self.preview:
            return "html", self.preview
        name = path.removesuffix(".md")
        if name not in _names():
            return None
        return ("markdown", self._source(name)) if path.endswith(".md") else self._page(name)

    def _source(self, name: str) -> str:
        text = (files(__package__) / "articles" / f"{name}.md").read_text(encoding="utf-8")
        return text.replace(_SITE, self.url).replace(_PICTURES, self.pictures)

    def _read(self, name: str) -> articles.ArticleInput:
        return articles.read(self._source(name), origin=f"{name}.md")

    def _page(self, name: str) -> tuple[str, str]:
        found = self._read(name)
        picture = (
            f'<img src="{html.escape(found.image)}" alt="{html.escape(found.image_alt or "")}">'
            if found.image
            else ""
        )
        title = html.escape(found.title)
        body = markdown.html(found.body, base_url=found.url)
        byline = f"<p><em>{html.escape(found.author or '')}</em></p>"
        return "html", _PAGE.format(title=title, main=f"<h1>{title}</h1>{byline}{picture}{body}")


def _names() -> set[str]:
    folder = files(__package__) / "articles"
    return {each.name.removesuffix(".md") for each in folder.iterdir() if each.name.endswith(".md")}
