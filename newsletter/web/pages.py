"""A page from a template: its language, its publication's look, its status."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from flask import Flask, Response, make_response, render_template, url_for

from newsletter import i18n
from newsletter.store import Publication
from newsletter.web import language


def install(app: Flask) -> None:
    """Tell the app's templates what every page needs."""
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
    app.jinja_env.globals["languages"] = language.names
    versions = {
        path.name: _version(path.read_bytes())
        for path in Path(str(app.static_folder)).iterdir()
        if path.is_file()
    }

    @app.url_defaults
    def name_version(endpoint: str, values: dict[str, Any]) -> None:
        # A file that changed has another address, so that browsers may keep the old one for ever.
        if endpoint == "static":
            values.setdefault("v", versions.get(values["filename"]))


def _version(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:8]


def render(template: str, **values: Any) -> str:
    """The text of templates/pages/<template>.html."""
    return render_template(f"pages/{template}.html", **values)


def page(
    template: str,
    *,
    publication: Publication | None = None,
    status: int = 200,
    **values: Any,
) -> Response:
    """A whole page, in the reader's language.

    template: templates/pages/<template>.html.
    publication: whose page it is: its title stands above, its colour is used, and its language is
        that of a reader whose languages we do not have. None for a page of the installation.
    status: of the answer.
    values: what the template reads, besides `publication`, `lang`, `dir`, `home` and `theme`.
    """
    home, theme = url_for("start"), None
    if publication is not None:
        language.settle(publication.language)
        home = url_for("publication", slug=publication.slug)
        version = _version(publication.accent_color.encode())
        theme = url_for("theme", slug=publication.slug, v=version)
    lang = language.current()
    text = render(
        template,
        publication=publication,
        lang=lang,
        dir="rtl" if i18n.is_right_to_left(lang) else "ltr",
        home=home,
        theme=theme,
        **values,
    )
    return make_response(text, status)
