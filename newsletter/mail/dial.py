"""Opening a TCP connection without waiting: name servers are asked in a thread of their own."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

# (family, type, protocol, canonical name, address), as socket.getaddrinfo gives them.
Address = tuple[int, int, int, str, Any]

# Seconds of silence after which the kernel asks whether the other side still lives.
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}


class Lookup:
    """The addresses of one host; asked for at once, in a thread that nobody waits for.

    done: called from that thread when `addresses` or `error` is set.
    """

    def __init__(self, host: str, port: int, done: Callable[[], None]) -> None:
        self.addresses: list[Address] | None = None
        self.error: OSError | None = None
        self._host, self._port, self._done = host, port, done
        if _is_number(host):
            self._ask()
        else:
            threading.Thread(target=self._ask, name="lookup", daemon=True).start()

    @property
    def is_over(self) -> bool:
        """Whether there is an answer."""
        return self.addresses is not None or self.error is not None

    def _ask(self) -> None:
        try:
            self.addresses = [*socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)]
        except OSError as error:
            self.error = error
        except UnicodeError:
            self.error = OSError(errno.EINVAL, "this is not a host's name")
        self._done()


def _is_number(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def dial(address: Address) -> socket.socket:
    """A socket that is connecting to `address`; it becomes writable when that is decided.

    Raises OSError when that fails at once.
    """
    family, kind, protocol, _, place = address
    line = socket.socket(family, kind, protocol)
    try:
        line.setblocking(False)
        # The dot after a body would else wait 40 ms for the relay's delayed acknowledgement
        # (Nagle's algorithm).
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):
                line.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        failure = line.connect_ex(place)
        if failure not in (0, errno.EINPROGRESS):
            raise OSError(failure, os.strerror(failure))
    except BaseException:
        line.close()
        raise
    return line


def check(line: socket.socket) -> None:
    """Raise OSError when a socket from `dial` that became writable is not connected."""
    failure = line.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if failure:
        raise OSError(failure, os.strerror(failure))


def own_name(line: socket.socket) -> str:
    """This machine's full name if it has one, else its address on `line` (RFC 5321 §4.1.3).

    Not socket.getfqdn: that asks name servers.
    """
    name = socket.gethostname()
    if "." in name and name.isascii():
        return name
    address = str(line.getsockname()[0]).partition("%")[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def close(line: socket.socket) -> None:
    """Close; never raises."""
    with contextlib.suppress(OSError):
        line.close()
