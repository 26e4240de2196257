"""What the views of one installation share: its settings, its database, its links, its clock.

All of it hangs on the app, nothing on the module: two apps in one process know nothing of each
other. The database is opened to fit the request: one that must not change anything cannot.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from flask import Flask, current_app, request
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from newsletter import store
from newsletter.config import Settings
from newsletter.consent.keyring import Keyring
from newsletter.links import Links
from newsletter.sending import standing

_NAME = "newsletter"
# RFC 9110 §9.2.1: these promise to change nothing, and mail scanners rely on it.
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True)
class Site:
    """One installation as the web sees it."""

    settings: Settings
    engine: Engine
    links: Links

    @property
    def keyring(self) -> Keyring:
        """The keys of the consent log, and its last checkpoint, as they are at this moment."""
        return Keyring.of(self.settings)

    def url(self, path: str) -> str:
        """The public address of `path` (from /): made of base_url, never of the Host header."""
        return self.settings.base_url + path


def put_on(app: Flask, settings: Settings, engine: Engine) -> None:
    """Make `app` the web app of the installation with these settings and this database."""
    links = Links(settings.base_url, tuple(settings.all_secret_keys))
    app.extensions[_NAME] = Site(settings, engine, links)


def site() -> Site:
    """The installation of the request that is being answered."""
    return cast(Site, current_app.extensions[_NAME])


def reading() -> AbstractContextManager[Session]:
    """A session in which the database refuses to write, whatever the request is."""
    return store.reading(site().engine)


def database() -> AbstractContextManager[Session]:
    """A session to read with for GET, HEAD and OPTIONS, and one to write with for POST."""
    if request.method in SAFE_METHODS:
        return store.reading(site().engine)
    return store.transaction(site().engine)


def keep_ledger() -> None:
    """Write down outside of the database who left or was erased: after the commit, and before the
    answer.

    When that cannot be done, the reader has left all the same, and is told so: the entry waits in
    the database for the next one, or for the worker.
    """
    standing.write_ledger(site().engine, site().settings)


def now() -> datetime:
    """The clock: edges read it, stories are told."""
    return datetime.now(UTC)
