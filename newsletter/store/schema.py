"""The shape of the database: brought to the newest by Alembic, and checked before each use."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from newsletter.errors import SchemaError
from newsletter.resources import resource_dir
from newsletter.store.base import public_id
from newsletter.store.engine import reading, transaction
from newsletter.store.record import Installation


def _alembic(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(resource_dir("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def newest() -> str:
    """The revision that this version's code is written for."""
    head = ScriptDirectory.from_config(_alembic()).get_current_head()
    if head is None:
        raise SchemaError("No migrations are installed: reinstall newsletter.")
    return head


def revision(engine: Engine) -> str | None:
    """The revision that the database is at; None for an empty one."""
    with reading(engine) as session:
        return MigrationContext.configure(session.connection()).get_current_revision()


def check_schema(engine: Engine) -> None:
    """Raises SchemaError unless the database has exactly this version's shape."""
    found, wanted = revision(engine), newest()
    if found == wanted:
        return
    if found is None:
        raise SchemaError("The database is empty. Make its tables with: newsletter migrate")
    known = {script.revision for script in ScriptDirectory.from_config(_alembic()).walk_revisions()}
    if found not in known:
        raise SchemaError(
            f"The database is at revision {found}, which this version does not know: "
            "it was made by a newer version. Install that one."
        )
    raise SchemaError(
        f"The database is at revision {found}, this version needs {wanted}. "
        "Back it up, then run: newsletter migrate"
    )


@contextmanager
def altering(engine: Engine) -> Iterator[Connection]:
    """A transaction that changes tables.

    SQLite changes a table by making it anew and dropping the old one, which deletes its rows; with
    foreign keys on, rows that name them would go along or forbid it (sqlite.org/lang_altertable).
    So they are off, and checked at the end.

    Raises SchemaError, with nothing changed, when a row is left that names no other.
    """
    if engine.dialect.name != "sqlite":
        with engine.begin() as connection:
            yield connection
        return
    with engine.connect() as connection:
        # Outside of the transaction: inside, this pragma does nothing.
        raw: Any = connection.connection.driver_connection
        raw.execute("PRAGMA foreign_keys=OFF")
        try:
            with connection.begin():
                yield connection
                orphans = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
                if orphans:
                    raise SchemaError(f"A row of {orphans[0][0]} names no row of {orphans[0][2]}.")
        finally:
            raw.execute("PRAGMA foreign_keys=ON")


def migrate(engine: Engine, to: str = "head") -> None:
    """Bring the database to revision `to`. One transaction: it works, or nothing changed."""
    with altering(engine) as connection:
        command.upgrade(_alembic(connection), to)


def downgrade(engine: Engine, to: str) -> None:
    """Take the database back to revision `to` ("base" for an empty one)."""
    with altering(engine) as connection:
        command.downgrade(_alembic(connection), to)


def create(engine: Engine, hash_key: bytes, now: datetime) -> None:
    """Make the tables and the installation's row; what is there already stays as it is.

    hash_key: the setting of that name, as bytes; checked again at each start.

    Raises SchemaError when the database was made under another hash key.
    """
    migrate(engine)
    with transaction(engine) as session:
        if session.get(Installation, 1) is None:
            session.add(
                Installation(
                    id=1,
                    public_id=public_id(),
                    log_size=0,
                    log_key=secrets.token_bytes(32),
                    hash_key_check=_hash_key_check(hash_key),
                    created_at=now,
                )
            )
    check_hash_key(engine, hash_key)


def check_hash_key(engine: Engine, hash_key: bytes) -> None:
    """Raises SchemaError when the hash_key setting is not the one of this database."""
    with reading(engine) as session:
        installation = session.get(Installation, 1)
    if installation is None:
        raise SchemaError("The database has no installation in it: newsletter migrate")
    if not hmac.compare_digest(installation.hash_key_check, _hash_key_check(hash_key)):
        raise SchemaError(
            "The setting hash_key is not the one that this database was made with. With another "
            "key, people who were blocked or erased would be unknown: put the old one back."
        )


def _hash_key_check(hash_key: bytes) -> bytes:
    return hmac.new(hash_key, b"hash_key_check", hashlib.sha256).digest()
