"""Statements of the hot path: compiled once, then given to the database's driver as they are.

Building a statement costs SQLAlchemy several times what SQLite needs to run it, and three of them
stand between a mail and its record. The statements are the same ones, written with SQLAlchemy;
errors are SQLAlchemy's too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from operator import itemgetter
from typing import Any

from sqlalchemy import ClauseElement, Connection, Dialect, exc
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.orm import Session

Values = Mapping[str, Any]
Row = tuple[Any, ...]
_Process = Callable[[Any], Any]


@dataclass(frozen=True)
class _Compiled:
    """text: for the driver. fixed: values that the statement brings along, for it. same, each: how
    to write the parameters that all rows of a run share, and those of each row by their place.
    order: picks the parameters by position out of the fixed, same and row's values, one behind
    the other; None where the driver takes names.
    """

    text: str
    fixed: dict[str, Any]
    same: tuple[tuple[str, _Process | None], ...]
    each: tuple[str, ...]
    processes: tuple[tuple[int, _Process], ...]
    order: Callable[[Row], Row] | None

    def values(self, same: Values, rows: Iterable[Row]) -> Sequence[Any]:
        shared = self.fixed.copy()
        for name, process in self.same:
            shared[name] = process(same[name]) if process else same[name]
        order = self.order
        if order is None:
            return [shared | dict(zip(self.each, self._row(row), strict=True)) for row in rows]
        front = tuple(shared.values())
        return [order(front + self._row(row)) for row in rows]

    def _row(self, row: Row) -> Row:
        if not self.processes:
            return row
        found = list(row)
        for place, process in self.processes:
            found[place] = process(found[place])
        return tuple(found)


class Prepared:
    """A statement whose parameters (bindparam) all get their values when it runs.

    each: the names of those that differ from row to row, in the order in which rows have them;
    one that the statement has no use for may be among them.
    """

    def __init__(self, statement: ClauseElement, *each: str) -> None:
        self._statement = statement
        self._each = each
        self._compiled: dict[str, _Compiled] = {}

    def many(self, session: Session, rows: Sequence[Row], **same: Any) -> int:
        """Run it for each of `rows`, in their order; how many rows of the database it changed.

        same: the parameters that do not differ. Raises what SQLAlchemy would raise.
        """
        if not rows:
            return 0
        connection = session.connection()
        compiled = self._for(connection.dialect)
        values = compiled.values(same, rows)
        changed: int = _run(
            connection,
            lambda cursor: cursor.executemany(compiled.text, values),
            lambda cursor: cursor.rowcount,
        )
        return changed

    def each(self, session: Session, rows: Sequence[Row], **same: Any) -> list[int]:
        """Run it for each of `rows`, in their order; how many rows each of these changed."""
        if not rows:
            return []
        connection = session.connection()
        compiled = self._for(connection.dialect)
        values = compiled.values(same, rows)
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

    def rows(self, session: Session, **values: Any) -> list[Any]:
        """Run it once; the rows that it returns, as tuples of what the driver gives."""
        connection = session.connection()
        compiled = self._for(connection.dialect)
        (once,) = compiled.values(values, [tuple(values[name] for name in self._each)])
        found: list[Any] = _run(
            connection,
            lambda cursor: cursor.execute(compiled.text, once),
            lambda cursor: list(cursor.fetchall()),
        )
        return found

    def _for(self, dialect: Dialect) -> _Compiled:
        found = self._compiled.get(dialect.name)
        if found is None:
            found = self._compiled[dialect.name] = _compile(self._statement, self._each, dialect)
        return found


def _compile(statement: ClauseElement, each: tuple[str, ...], dialect: Dialect) -> _Compiled:
    compiled: Any = statement.compile(dialect=dialect)
    if compiled.post_compile_params:
        raise ValueError("a prepared statement cannot hold a list whose length may differ: in_()")
    fixed: dict[str, Any] = {}
    processes: dict[str, _Process | None] = {}
    for name in compiled.params:
        bind = compiled.binds.get(name)
        process = (
            bind.type.dialect_impl(dialect).bind_processor(dialect) if bind is not None else None
        )
        if bind is not None and bind.required:
            processes[name] = process
        else:
            value = compiled.params[name]
            value = value.value if isinstance(value, Enum) else value
            fixed[name] = process(value) if process else value
    same = tuple((name, how) for name, how in processes.items() if name not in each)
    order = None
    if compiled.positional:
        names = [*fixed, *(name for name, _how in same), *each]
        order = _picks([names.index(name) for name in compiled.positiontup])
    own = ((place, processes.get(name)) for place, name in enumerate(each))
    needed = tuple((place, how) for place, how in own if how is not None)
    return _Compiled(compiled.string, fixed, same, each, needed, order)


def _picks(places: Sequence[int]) -> Callable[[Row], Row]:
    """Picks values by their places, also when it is one or none."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda row: tuple(row[place] for place in places)


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
