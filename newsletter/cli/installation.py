"""The installation that a command works on: settings, database, clock.

Every command refuses a database whose schema or hash key is not its own, before it does anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from newsletter import config
from newsletter.cli.group import Choice
from newsletter.errors import SchemaError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from newsletter.links import Links

_SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Installation:
    """An open installation. `engine` is closed by whoever opened it."""

    settings: config.Settings
    engine: Engine

    @property
    def hash_key(self) -> bytes:
        """The key under which mailboxes are hashed."""
        return self.settings.hash_key_bytes

    @property
    def feed_every(self) -> timedelta:
        """How long until a feed is asked again."""
        return timedelta(seconds=self.settings.feed_every)

    @property
    def links(self) -> Links:
        """What makes this installation's links."""
        from newsletter.links import Links  # noqa: PLC0415  # few commands make links

        return Links(self.settings.base_url, tuple(self.settings.all_secret_keys))


def keep_ledger(here: Installation) -> None:
    """Write down outside of the database who left or was erased: after the commit.

    A file that cannot be written is told, and does not undo what was done.
    """
    from newsletter.consent.ledger import Ledger  # noqa: PLC0415  # few commands need it

    try:
        Ledger.of(here.settings).catch_up(here.engine)
    except OSError as error:
        click.echo(
            f"Note: {error.filename or here.settings.consent_folder}: {error.strerror}. Until the "
            "ledger can be written, a restored backup would undo this; the worker tries again.",
            err=True,
        )


def now() -> datetime:
    """The clock of the command line."""
    return datetime.now(UTC)


def load_settings() -> config.Loaded:
    """The settings of the running command; raises ConfigError with every fault."""
    choice = click.get_current_context().find_object(Choice)
    return config.load(choice.config_file if choice else None)


@contextmanager
def opened() -> Iterator[Installation]:
    """The installation of the running command, checked.

    Raises ConfigError, and SchemaError with the cure when the database is not of this version's
    shape, is missing, or was made under another hash key.
    """
    settings = load_settings().settings
    with unchecked(settings) as installation:
        from newsletter.store.schema import check_hash_key, check_schema  # noqa: PLC0415

        file = sqlite_file(settings)
        if file is not None and not file.exists():
            # Opening it would make an empty file of that name.
            raise SchemaError(f"There is no database at {file}. Make it with: newsletter migrate")
        check_schema(installation.engine)
        check_hash_key(installation.engine, installation.hash_key)
        yield installation


@contextmanager
def unchecked(settings: config.Settings) -> Iterator[Installation]:
    """The same without a look at the database: for what makes, mends or copies it."""
    from newsletter import logs  # noqa: PLC0415  # `config` and `--help` need no database
    from newsletter.store import connect  # noqa: PLC0415

    logs.configure(settings.log_level)
    engine = connect(settings.database_url)
    try:
        yield Installation(settings, engine)
    finally:
        engine.dispose()


def make_key(here: Installation) -> Path | None:
    """Make the key that signs the consent log, where it was never signed before.

    Where it was, a missing key is one that is lost or on another machine: a new one would only hide
    that. Returns the folder that a key was made in, None when none was.
    """
    from newsletter.consent import Keyring, checkpoint  # noqa: PLC0415  # few commands make keys
    from newsletter.store import reading  # noqa: PLC0415

    keyring = Keyring.of(here.settings)
    with reading(here.engine) as session:
        was_signed = checkpoint.newest(session) is not None
    if was_signed and not keyring.is_complete:
        return None
    return keyring.folder if keyring.create(here.settings.log_origin) else None


def sqlite_file(settings: config.Settings) -> Path | None:
    """The file of a SQLite database; None for PostgreSQL."""
    name = settings.database_url.removeprefix(_SQLITE)
    return None if name == settings.database_url else Path(name)
