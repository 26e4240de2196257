"""A page from a template: its language, its publication's look, its status."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from flask import Flask, Response, make_response, render_template, url_for

from newsletter import i18n
from newsletter.store import Publication
from newsletter.web import headers, language, theme, whose
from newsletter.web.prose import cleaned, syndicated


def install(app: Flask) -> None:
    """Tell the app's templates what every page needs."""
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
    app.add_template_filter(cleaned, "cleaned")
    app.add_template_filter(syndicated, "syndicated")
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
    publication: whose page it is: its name or logo stands above, its colour is used, and its
        language is that of a reader whose languages we do not have. None: whose it is, the
        address says, or it is the only one's; when neither is so, the installation's.
    status: of the answer.
    values: what the template reads, besides `publication`, `lang`, `dir`, `home` and `theme`.
    """
    return _page(template, publication or whose.publication(), status, **values)


def bare(template: str, *, status: int) -> Response:
    """A whole page of the installation, made without the database."""
    return _page(template, None, status)


def _page(template: str, publication: Publication | None, status: int, **values: Any) -> Response:
    home = url_for("start")
    if publication is not None:
        language.settle(publication.language)
        home = url_for("publication", slug=publication.slug)
    lang = language.current()
    text = render(
        template,
        publication=publication,
        lang=lang,
        dir="rtl" if i18n.is_right_to_left(lang) else "ltr",
        home=home,
        theme=_theme(publication),
        **values,
    )
    return make_response(text, status)


def _theme(publication: Publication | None) -> dict[str, Any]:
    """name: of the theme. stylesheet: the address of its colours. logo: None for the name."""
    found: dict[str, Any] = {"name": theme.name(publication), "stylesheet": None, "logo": None}
    if publication is not None:
        version = theme.version(publication)
        found["stylesheet"] = url_for("theme", slug=publication.slug, v=version)
        found["logo"] = theme.logo(publication)
        if found["logo"]:
            headers.allow_pictures_from(theme.origin(found["logo"]["url"]))
    return found
