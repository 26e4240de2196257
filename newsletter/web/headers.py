"""The headers that keep a page to itself: no script, no frame, no referrer, no cookie.

Every answer gets them, errors and files too. A view asks for one of the few exceptions by name.
"""

from __future__ import annotations

from flask import Flask, Response, g, request
from secure import (
    ContentSecurityPolicy,
    CrossOriginOpenerPolicy,
    CrossOriginResourcePolicy,
    PermissionsPolicy,
    ReferrerPolicy,
    Secure,
    StrictTransportSecurity,
    XContentTypeOptions,
    XFrameOptions,
)

_DAY = 86_400


def install(app: Flask, base_url: str) -> None:
    """Put the headers on every answer of `app`; base_url tells whether it is served over TLS."""
    is_https = base_url.startswith("https://")
    headers = Secure(
        coop=CrossOriginOpenerPolicy().same_origin(),
        corp=CrossOriginResourcePolicy().same_origin(),
        # Over plain HTTP a browser must ignore it (RFC 6797 §8.1), and a demo must not promise it.
        hsts=StrictTransportSecurity().max_age(365 * _DAY) if is_https else None,
        permissions=PermissionsPolicy().camera().geolocation().microphone().payment().usb(),
        referrer=ReferrerPolicy().no_referrer(),
        xcto=XContentTypeOptions().nosniff(),
        xfo=XFrameOptions().deny(),
    ).headers

    @app.after_request
    def protect(response: Response) -> Response:
        if request.endpoint == "static" and (response.mimetype or "").startswith("image/"):
            # A picture may stand in a letter, and letters are read on other sites.
            response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("Content-Security-Policy", _policy())
        if g.get("is_private") or request.method == "POST":
            response.headers["Cache-Control"] = "no-store"
            response.headers["X-Robots-Tag"] = "noindex, nofollow"
        elif request.endpoint in ("static", "theme") and "v" in request.args:
            # The address changes with the content (newsletter.web.pages).
            response.headers["Cache-Control"] = f"public, max-age={365 * _DAY}, immutable"
        response.headers.setdefault("Cache-Control", "no-cache")
        if response.mimetype == "text/html":
            response.vary.add("Accept-Language")
        if response.location is not None:
            response.location = _own_path(response.location)
            response.set_data(b"")
        return response


def keep_private() -> None:
    """What is shown now is one person's: not to be stored, not to be found by a search engine."""
    g.is_private = True


def allow_foreign_pictures() -> None:
    """The page shows articles, whose pictures lie where their authors put them."""
    g.has_foreign_pictures = True


def allow_pictures_from(origin: str) -> None:
    """The page shows a picture that lies at `origin` (scheme, host and port)."""
    g.picture_origin = origin


def allow_forms_to(origin: str) -> None:
    """A form of this page posts to `origin` (scheme, host and port), which may be another one."""
    g.form_origin = origin


def _policy() -> str:
    pictures = ["'self'"]
    if g.get("has_foreign_pictures"):
        pictures += ["https:", "data:"]
    elif "picture_origin" in g:
        pictures.append(g.picture_origin)
    forms = ("'self'", g.form_origin) if "form_origin" in g else ("'self'",)
    policy = ContentSecurityPolicy().default_src("'none'").style_src("'self'").img_src(*pictures)
    policy = policy.form_action(*forms).base_uri("'none'").frame_ancestors("'none'")
    return policy.header_value


def _own_path(location: str) -> str:
    """A redirect without scheme and host: what the Host header said must not come back in it."""
    _scheme, separator, rest = location.partition("://")
    path = "/" + rest.partition("/")[2] if separator else location
    # Two slashes would be read as a host.
    return "/" + path.lstrip("/\\")
