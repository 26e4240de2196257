"""What a visitor sees when something is wrong: a page that says so kindly, with the right status.

Every error ends here, once. Nothing that the visitor sent goes into the page or the log: a path
may hold a link, an error's text may hold an address.
"""

from __future__ import annotations

import traceback

import structlog
from flask import Flask, Response, request
from flask_limiter import RateLimitExceeded
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException

from newsletter.errors import (
    BadInput,
    BadLink,
    ConfigError,
    LogFault,
    NewsletterError,
    NotFound,
    SchemaError,
    WrongState,
)
from newsletter.web.limits import Limits
from newsletter.web.pages import bare, page

log = structlog.get_logger()

# The first that fits; a template and a status each.
_PAGES: tuple[tuple[type[NewsletterError], str, int], ...] = (
    (BadLink, "bad_link", 404),
    (NotFound, "not_found", 404),
    (BadInput, "bad_request", 422),
    (WrongState, "bad_request", 409),
    (SchemaError, "unavailable", 503),
    (ConfigError, "unavailable", 503),
)
_BY_STATUS = {404: "not_found", 413: "too_large", 429: "too_many"}
_RETRY_SECONDS = 30
# A log is mended by a person.
_MENDED_SECONDS = 3600


def install(app: Flask, limits: Limits) -> None:
    """Make every error of `app` end as a page."""

    @app.errorhandler(NewsletterError)
    def ours(error: NewsletterError) -> Response:
        for kind, template, status in _PAGES:
            if isinstance(error, kind):
                return _unavailable(error) if status == 503 else page(template, status=status)
        return _broken(error)

    @app.errorhandler(LogFault)
    def standing_still(error: LogFault) -> Response:
        # Its words are about the log as a whole, and tell the operator what to do.
        log.error("log_fault", endpoint=request.endpoint, fault=str(error))
        answer = page("standing_still", status=503)
        answer.headers["Retry-After"] = str(_MENDED_SECONDS)
        return answer

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> Response:
        status = error.code or 500
        if status < 400:
            return Response(status=status, headers=error.get_headers())
        answer = page(_BY_STATUS.get(status, "bad_request"), status=status)
        # 405 says which methods there are (RFC 9110 §15.5.6).
        for name, value in error.get_headers():
            if name.lower() not in ("content-type", "content-length"):
                answer.headers[name] = value
        if isinstance(error, RateLimitExceeded):
            answer.headers["Retry-After"] = str(limits.wait())
        return answer

    @app.errorhandler(SQLAlchemyError)
    def database(error: SQLAlchemyError) -> Response:
        is_lost = isinstance(error, DBAPIError) and error.connection_invalidated
        if is_lost or isinstance(error, OperationalError | PoolTimeout):
            return _unavailable(error)
        return _broken(error)

    app.register_error_handler(Exception, _broken)


def _unavailable(error: Exception) -> Response:
    log.error("database unavailable", endpoint=request.endpoint, error=type(error).__name__)
    if request.endpoint == "healthz":
        answer = Response("the database does not answer\n", 503, mimetype="text/plain")
    else:
        answer = bare("unavailable", status=503)
    answer.headers["Retry-After"] = str(_RETRY_SECONDS)
    return answer


def _broken(error: Exception) -> Response:
    """A fault of ours. The log gets where it happened, not what the error says."""
    frames = [
        f"{frame.filename}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)[-12:]
    ]
    log.error("page failed", endpoint=request.endpoint, error=type(error).__name__, frames=frames)
    if request.endpoint == "healthz":
        return Response("error\n", 500, mimetype="text/plain")
    return bare("broken", status=500)
