"""The web app of one installation, put together from its parts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog
from flask import Flask
from sqlalchemy import Engine
from werkzeug.routing import BaseConverter

from newsletter import config, logs, store
from newsletter.resources import resource_dir
from newsletter.sending import standing
from newsletter.store.schema import check_hash_key
from newsletter.web import (
    access,
    archive,
    confirm,
    faults,
    feeds,
    headers,
    health,
    language,
    leave,
    pages,
    preferences,
    signup,
    site,
    wellknown,
    whose,
)
from newsletter.web.limits import Limits

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = structlog.get_logger()

# The largest form has an address, a name and a few boxes.
_MAX_BODY = 64 * 1024
_MAX_FIELDS = 200


class SlugConverter(BaseConverter):
    """The part of a path that names a publication."""

    regex = whose.SLUG


def create_app(settings: config.Settings, engine: Engine | None = None) -> Flask:
    """The app for these settings; `engine` is made from them when none is given.

    The caller sees to it that the database has the right shape (store.check_schema).
    """
    app = Flask(
        "newsletter.web",
        template_folder=str(resource_dir("templates")),
        static_folder="static",
        static_url_path="/static",
    )
    app.config["MAX_CONTENT_LENGTH"] = _MAX_BODY
    app.config["MAX_FORM_MEMORY_SIZE"] = _MAX_BODY
    app.config["MAX_FORM_PARTS"] = _MAX_FIELDS
    app.url_map.converters["slug"] = SlugConverter
    site.put_on(app, settings, engine or store.connect(settings.database_url))
    headers.install(app, settings.base_url)
    language.install(app)
    pages.install(app)
    limits = Limits(app, settings)
    faults.install(app, limits)
    signup.add_routes(app, limits)
    confirm.add_routes(app, limits)
    leave.add_routes(app)
    preferences.add_routes(app, limits)
    access.add_routes(app, limits)
    archive.add_routes(app)
    feeds.add_routes(app)
    health.add_routes(app)
    wellknown.add_routes(app)
    prefix = urlsplit(settings.base_url).path
    if prefix:
        app.wsgi_app = _below(prefix, app.wsgi_app)  # type: ignore[assignment, method-assign]
    return app


def create_app_from_environment() -> Flask:
    """The app for a WSGI server: settings from NEWSLETTER_CONFIG and the environment.

    Raises ConfigError or SchemaError rather than start half-working. A database that was put back
    from a backup is served: readers can leave, and nobody can sign up.
    """
    settings = config.load().settings
    logs.configure(settings.log_level)
    engine = store.connect(settings.database_url)
    store.check_schema(engine)
    check_hash_key(engine, settings.hash_key_bytes)
    if fault := standing.take_up(engine, settings):
        log.error("log_fault", fault=str(fault))
    return create_app(settings, engine)


def reserved_slugs(app: Flask) -> set[str]:
    """First parts of paths that are routes of their own, so that no publication may have them."""
    firsts = {rule.rule.split("/")[1] for rule in app.url_map.iter_rules()}
    # No slug begins with a dot.
    return {first for first in firsts if first and not first.startswith(("<", "."))}


def _below(prefix: str, wsgi_app: WSGIApplication) -> WSGIApplication:
    """The app behind the path of base_url, whether the proxy leaves the path on or takes it off."""

    def mounted(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == prefix or path.startswith(f"{prefix}/"):
            environ["PATH_INFO"] = path.removeprefix(prefix) or "/"
        environ["SCRIPT_NAME"] = prefix
        return wsgi_app(environ, start_response)

    return mounted
