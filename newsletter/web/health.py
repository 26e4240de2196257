"""Whether the service can work: what a load balancer or a watchdog asks."""

from __future__ import annotations

from flask import Flask, Response
from sqlalchemy import text

from newsletter.web.site import database


def add_routes(app: Flask) -> None:
    """Add the routes of this module to `app`."""
    app.add_url_rule("/healthz", "healthz", health)


def health() -> Response:
    """200 when the database answers; when it does not, the app answers 503."""
    with database() as session:
        session.execute(text("SELECT 1"))
    return Response("ok\n", mimetype="text/plain")
