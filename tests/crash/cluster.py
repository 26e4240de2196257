"""A PostgreSQL server of a test's own that may be torn down and put up again; it syncs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from types import TracebackType

import psycopg
from sqlalchemy import make_url

import postgres

# Unlike the server of the other tests, this one has to keep what it promised.
_DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


class Cluster:
    """The server. Raises postgres.NoServer when there is none to be had."""

    def __enter__(self) -> Cluster:
        self._account = postgres._account()
        self._folder: Path = postgres._temporary_folder(self._account)
        self._process, self.url = postgres._start(self._folder, self._account, _DURABLE)
        self._words = self._process.args
        self._wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end(signal.SIGQUIT)
        shutil.rmtree(self._folder, ignore_errors=True)

    def create(self, name: str) -> str:
        """Make a database; its database_url for newsletter."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        url = make_url(self.url).set(drivername="postgresql+psycopg", database=name)
        return url.render_as_string(hide_password=False)

    def crash(self) -> None:
        """End it at once, as pg_ctl -m immediate does, and start it again: it recovers."""
        self._end(signal.SIGQUIT)
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._words,
                cwd=self._folder,
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self._account,
            )
        self._wait()

    def cut_off(self, database: str, most: int) -> int:
        """Terminate up to so many connections to a database; how many there were."""
        query = (
            "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity "
            "WHERE datname = %s AND pid <> pg_backend_pid() ORDER BY random() LIMIT %s) AS chosen"
        )
        with psycopg.connect(self.url, autocommit=True) as connection:
            found = connection.execute(query, (database, most)).fetchone()
        return found[0] if found else 0

    def _wait(self) -> None:
        postgres._wait(self._process, self.url, self._folder)

    def _end(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            os.kill(self._process.pid, number)
            self._process.wait(30)
