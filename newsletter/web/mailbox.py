"""The mails of a folder in the browser: what a newcomer's demo shows instead of a mail program.

Each *.eml is the raw bytes as they were received. Nothing of a mail is trusted: its HTML is shown
in a sandboxed frame under a policy of its own, its text is escaped, and only files that lie in the
folder itself are opened.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from flask import Flask, Response, abort, render_template
from markupsafe import Markup, escape

from newsletter.resources import resource_dir
from newsletter.web import headers, language, pages

_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}\.eml")
_URL = re.compile(r"https?://[^\s<>\"]+[^\s<>\".,;:!?)\]]")
_LISTED = 1000
# The frame that shows the HTML part: no script, no form, no storage; a link opens a new tab.
_FRAME_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src http: https: data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'; "
    "sandbox allow-popups allow-popups-to-escape-sandbox"
)
_PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; frame-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True)
class Mail:
    """One mail of the folder: its file's name, when it came, and what it says."""

    file: str
    came: datetime
    raw: bytes
    message: EmailMessage

    def header(self, name: str) -> str:
        """A header as text, on one line; "" when there is none."""
        try:
            return " ".join(str(self.message.get(name, "")).split())
        except (ValueError, IndexError):
            # A header that cannot be read is no reason not to show the mail.
            return ""

    def part(self, kind: str) -> str | None:
        """The text of the mail's "plain" or "html" part; None when it has none."""
        found = self.message.get_body((kind,))
        if found is None:
            return None
        try:
            return str(found.get_content())
        except (LookupError, ValueError):
            return None


def mailbox_app(folder: Path) -> Flask:
    """An app that shows the mails of `folder`, newest first: /, /mail/<file>, and their parts."""
    app = Flask(
        "newsletter.web",
        template_folder=str(resource_dir("templates")),
        static_folder="static",
        static_url_path="/static",
    )
    headers.install(app, "http://localhost")
    language.install(app)
    pages.install(app)
    app.after_request(_show_frames)

    @app.get("/")
    def listing() -> str:
        files = sorted(_files(folder), key=_when, reverse=True)
        mails = [_read(file) for file in files[:_LISTED]]
        return render_template("pages/mailbox/list.html", mails=mails, count=len(files))

    @app.get("/mail/<name>")
    def mail(name: str) -> str:
        found = _open(folder, name)
        return render_template("pages/mailbox/mail.html", mail=found, view=_best(found))

    @app.get("/mail/<name>/<any(html,text,source):view>")
    def part(name: str, view: str) -> str:
        return render_template("pages/mailbox/mail.html", mail=_open(folder, name), view=view)

    @app.get("/mail/<name>/frame")
    def frame(name: str) -> Response:
        html = _open(folder, name).part("html")
        if html is None:
            abort(404)
        answer = Response(_in_new_tab(html), mimetype="text/html")
        answer.headers["Content-Security-Policy"] = _FRAME_POLICY
        answer.headers["X-Frame-Options"] = "SAMEORIGIN"
        return answer

    app.add_template_filter(_linked, "linked")
    return app


def _show_frames(response: Response) -> Response:
    """The pages hold a frame, which the pages of the installation never do."""
    response.headers.setdefault("Content-Security-Policy", _PAGE_POLICY)
    return response


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*.eml") if _FILE.fullmatch(path.name) and _is_own(path)]


def _is_own(path: Path) -> bool:
    """Whether it is a file in its folder, and not a way out of it."""
    return path.is_file() and not path.is_symlink()


def _when(path: Path) -> tuple[float, str]:
    return path.stat().st_mtime, path.name


def _read(path: Path) -> Mail:
    raw = path.read_bytes()
    message = message_from_bytes(raw, policy=policy.default)
    came = datetime.fromtimestamp(path.stat().st_mtime).astimezone()
    return Mail(path.name, came, raw, message)


def _open(folder: Path, name: str) -> Mail:
    if not _FILE.fullmatch(name) or not _is_own(folder / name):
        abort(404)
    return _read(folder / name)


def _best(mail: Mail) -> str:
    return "html" if mail.part("html") is not None else "text"


def _in_new_tab(html: str) -> str:
    """The letter's links would open inside the frame, where the service's pages refuse to be."""
    base = '<base target="_blank">'
    opened, count = re.subn(r"(?i)(<head[^>]*>)", rf"\1{base}", html, count=1)
    return opened if count else base + html


def _linked(text: str) -> Markup:
    """Text as HTML, with its web addresses as links."""
    pieces = []
    end = 0
    for found in _URL.finditer(text):
        pieces.append(escape(text[end : found.start()]))
        link = Markup('<a href="{0}" target="_blank" rel="noopener noreferrer">{0}</a>')
        pieces.append(link.format(found.group()))
        end = found.end()
    pieces.append(escape(text[end:]))
    return Markup("").join(pieces)
