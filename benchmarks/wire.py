"""What stands at the other end of the wire, and the load generator that we are compared with.

Receivers: Postfix's smtp-sink, and a lighter one of ours in C. Between sender and receiver, a
proxy that makes the way long. All of them listen on 127.0.0.1, each run gets a fresh one.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import measure

from newsletter.mail.sink import Sink

HERE = Path(__file__).resolve().parent
# Where Debian's package postfix puts them; not on everybody's PATH.
_SBIN = "/usr/sbin:/usr/libexec/postfix:/usr/lib/postfix/sbin"
_START_SECONDS = 10


class Missing(Exception):
    """A tool that a part needs is not on this machine; says which, and where it is from."""


@dataclass
class Receiver:
    """A receiver that listens.

    Known once it has ended: `cpu`, its seconds of processor time, and `mails`, how many it took,
    if it is one that counts.
    """

    port: int
    cpu: float = 0.0
    mails: int | None = None


def tool(name: str) -> str:
    """The path of a program of Postfix; raises Missing."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{_SBIN}")
    if found is None:
        raise Missing(f"{name} is not here (Debian: apt-get install postfix)")
    return found


def light_sink(folder: Path) -> Path:
    """Our receiver, compiled into `folder`; raises Missing without a C compiler."""
    made = folder / "light_sink"
    if not made.exists():
        compiler = shutil.which("cc")
        if compiler is None:
            raise Missing("there is no C compiler called cc for the light sink")
        subprocess.run([compiler, "-O2", "-o", made, HERE / "light_sink.c"], check=True)
    return made


@contextmanager
def smtp_sink() -> Iterator[Receiver]:
    """Postfix's receiver. Raises Missing."""
    port = _free_port()
    # It wants to be nobody where it would be root.
    account = ["-u", "nobody"] if os.geteuid() == 0 else []
    with _ended([tool("smtp-sink"), *account, f"127.0.0.1:{port}", "256"], port) as receiver:
        yield receiver


@contextmanager
def light(folder: Path) -> Iterator[Receiver]:
    """Our light receiver. Raises Missing."""
    with _ended([light_sink(folder)], counts=True) as receiver:
        yield receiver


@contextmanager
def far(receiver: Receiver, one_way: float) -> Iterator[Receiver]:
    """The same receiver, `one_way` seconds away."""
    with _ended([sys.executable, HERE / "far.py", receiver.port, one_way]) as proxy:
        yield proxy


def smtp_source(
    port: int, *, mails: int, connections: int, length: int, environ: dict[str, str], log: Path
) -> measure.Ran:
    """smtp-source sends so many mails, over connections that it keeps; raises Missing."""
    command = [tool("smtp-source"), "-s", connections, "-d", "-m", mails, "-l", length]
    return measure.run([*command, f"127.0.0.1:{port}"], environ, log)


def length_for(size: int, environ: dict[str, str], log: Path) -> int:
    """The -l that makes smtp-source's whole mail `size` bytes long: its headers do not count."""
    with Sink() as sink:
        smtp_source(sink.port, mails=1, connections=1, length=size, environ=environ, log=log)
        return size - (len(sink.received[0].raw) - size)


@contextmanager
def _ended(
    command: Sequence[object], port: int | None = None, *, counts: bool = False
) -> Iterator[Receiver]:
    """A program that listens, ended afterwards.

    port: where it listens; None for one that prints it. counts: whether it says at its end how
    many mails it took.
    """
    words = [str(word) for word in command]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    with process.stdout:
        receiver = Receiver(port or 0)
        try:
            if port is None:
                receiver.port = int(process.stdout.readline())
            else:
                _wait_for(port)
            yield receiver
        finally:
            os.kill(process.pid, signal.SIGTERM)
            said = process.stdout.read()
            _, _, usage = os.wait4(process.pid, 0)
            process.returncode = 0  # waited for here, to know what it cost
            receiver.cpu = usage.ru_utime + usage.ru_stime
            receiver.mails = json.loads(said)["mails"] if counts else None


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
