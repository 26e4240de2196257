"""Statements of the hot path: compiled once, then given to the database's driver as they are.

Building a statement costs SQLAlchemy several times what SQLite needs to run it, and three of them
stand between a mail and its record. The statements are the same ones, written with SQLAlchemy;
errors are SQLAlchemy's too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sqlalchemy import ClauseElement, Connection, Dialect, exc
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.orm import Session

Values = Mapping[str, Any]
_Process = Callable[[Any], Any] | None


@dataclass(frozen=True)
class _Compiled:
    """text: for the driver. order: parameters by position; None where the driver takes names."""

    text: str
    order: tuple[str, ...] | None
    fixed: dict[str, Any]
    processes: tuple[tuple[str, _Process], ...]

    def values(self, given: Values) -> Any:
        found = self.fixed.copy()
        for name, process in self.processes:
            value = given[name]
            found[name] = process(value) if process else value
        return found if self.order is None else tuple([found[name] for name in self.order])


class Prepared:
    """A statement whose parameters (bindparam) all get their values when it runs."""

    def __init__(self, statement: ClauseElement) -> None:
        self._statement = statement
        self._compiled: dict[str, _Compiled] = {}

    def many(self, session: Session, rows: Sequence[Values]) -> int:
        """Run it for each of `rows`, in their order; how many rows of the database it changed.

        Raises what SQLAlchemy would raise.
        """
        if not rows:
            return 0
        connection = session.connection()
        compiled = self._for(connection.dialect)
        changed: int = _run(
            connection,
            lambda cursor: cursor.executemany(compiled.text, [compiled.values(r) for r in rows]),
            lambda cursor: cursor.rowcount,
        )
        return changed

    def each(self, session: Session, rows: Sequence[Values]) -> list[int]:
        """Run it for each of `rows`, in their order; how many rows each of these changed."""
        if not rows:
            return []
        connection = session.connection()
        compiled = self._for(connection.dialect)
        values = [compiled.values(row) for row in rows]
        counts: list[int] = []

        def one_by_one(cursor: Any) -> None:
            for each in values:
                cursor.execute(compiled.text, each)
                counts.append(cursor.rowcount)

        def in_one_go(cursor: Any) -> None:
            # psycopg sends all of them before it waits for the first answer.
            cursor.executemany(compiled.text, values, returning=True)
            counts.append(cursor.rowcount)
            while cursor.nextset():
                counts.append(cursor.rowcount)

        is_far = connection.dialect.name == "postgresql"
        found: list[int] = _run(
            connection, in_one_go if is_far else one_by_one, lambda _cursor: counts
        )
        return found

    def rows(self, session: Session, values: Values) -> list[Any]:
        """Run it once; the rows that it returns, as tuples of what the driver gives."""
        connection = session.connection()
        compiled = self._for(connection.dialect)
        found: list[Any] = _run(
            connection,
            lambda cursor: cursor.execute(compiled.text, compiled.values(values)),
            lambda cursor: list(cursor.fetchall()),
        )
        return found

    def _for(self, dialect: Dialect) -> _Compiled:
        found = self._compiled.get(dialect.name)
        if found is None:
            found = self._compiled[dialect.name] = _compile(self._statement, dialect)
        return found


def _compile(statement: ClauseElement, dialect: Dialect) -> _Compiled:
    compiled: Any = statement.compile(dialect=dialect)
    if compiled.post_compile_params:
        raise ValueError("a prepared statement cannot hold a list whose length may differ: in_()")
    fixed: dict[str, Any] = {}
    processes: list[tuple[str, _Process]] = []
    for name in compiled.params:
        bind = compiled.binds.get(name)
        process = (
            bind.type.dialect_impl(dialect).bind_processor(dialect) if bind is not None else None
        )
        if bind is not None and bind.required:
            processes.append((name, process))
        else:
            value = compiled.params[name]
            value = value.value if isinstance(value, Enum) else value
            fixed[name] = process(value) if process else value
    order = tuple(compiled.positiontup) if compiled.positional else None
    return _Compiled(compiled.string, order, fixed, tuple(processes))


def _run(
    connection: Connection,
    do: Callable[[DBAPICursor], Any],
    result: Callable[[DBAPICursor], Any],
) -> Any:
    raw: Any = connection.connection
    dialect = connection.dialect
    driver = dialect.dbapi
    assert driver is not None  # noqa: S101 - a connected dialect has one
    try:
        with closing(raw.cursor()) as cursor:
            do(cursor)
            return result(cursor)
    except driver.Error as error:
        is_gone = dialect.is_disconnect(error, raw, None)
        if is_gone:
            connection.invalidate(error)
        raise exc.DBAPIError.instance(
            None,
            None,
            error,
            driver.Error,
            hide_parameters=True,
            connection_invalidated=is_gone,
            dialect=dialect,
        ) from error
