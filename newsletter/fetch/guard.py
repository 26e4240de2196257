"""Where a connection may go: checked addresses only, and only until the time is over."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import httpcore

# What one read may take from the line.
_READ_BYTES = 16 * 1024
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052 §2.1
# Not public, which not every Python knows: site-local (RFC 3879), documentation (RFC 9637), local
# translation (RFC 8215) and segment routing (RFC 9602).
_NOT_PUBLIC = tuple(map(IPv6Network, ("fec0::/10", "3fff::/20", "64:ff9b:1::/48", "5f00::/16")))

# Host and port to the addresses as text.
Resolver = Callable[[str, int], Iterable[str]]
Network = IPv4Network | IPv6Network


class Forbidden(Exception):
    """What was asked for must not be read; says why, as the end of a sentence."""


def addresses_of(host: str, port: int) -> list[str]:
    """The addresses of `host` as the system resolves it; raises OSError when there are none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def is_public(address: str) -> bool:
    """Whether an address belongs to the public internet, also by what is embedded in it.

    Loopback, private, link-local, shared, reserved and multicast ones do not (RFC 6890).
    """
    ip = _address(address)
    inner = _inner(ip)
    if inner is not None:
        return is_public(str(inner))
    if any(ip in network for network in _NOT_PUBLIC):
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


def _address(text: str) -> IPv4Address | IPv6Address:
    return ipaddress.ip_address(text.partition("%")[0])


def _inner(ip: IPv4Address | IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for."""
    if isinstance(ip, IPv4Address):
        return None
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)


def _is_in(address: str, networks: Sequence[Network]) -> bool:
    ip = _address(address)
    ip = _inner(ip) or ip
    return any(ip in network for network in networks)


class Guard(httpcore.NetworkBackend):
    """Opens connections to checked addresses, until the time is over.

    timeout: seconds for all that is done through it. allow_private: also addresses that are not
    public. networks: those that are not public and allowed all the same. setting: the one that says
    so, for the message; "" for none.
    """

    def __init__(
        self,
        timeout: float,
        resolver: Resolver,
        *,
        allow_private: bool,
        networks: Sequence[Network],
        setting: str = "",
    ) -> None:
        self._setting = setting
        self.timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._resolver = resolver
        self._allow_private = allow_private
        self._networks = networks
        self._network = httpcore.SyncBackend()

    def left(self) -> float:
        """Seconds until the deadline; raises httpcore.ReadTimeout when there are none."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the time is over")
        return left

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the deadline counts
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """A connection to one of the addresses of `host`, all of which must be allowed."""
        addresses = list(dict.fromkeys(self._resolve(host, port)))
        # One bad address among good ones is no accident either.
        if not all(map(self._is_allowed, addresses)):
            cure = f", and the setting {self._setting} does not name it" if self._setting else ""
            raise Forbidden(f"{host} is not on the public internet{cure}")
        problem: Exception = OSError(f"{host} has no address")
        for place, address in enumerate(addresses):
            # An address that does not answer leaves time for those after it.
            share = self.left() / (len(addresses) - place)
            try:
                stream = self._network.connect_tcp(
                    address, port, share, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                problem = error
            else:
                return _Stream(stream, self)
        raise problem

    def connect_unix_socket(
        self,
        path: str,  # noqa: ARG002 - refused whatever it is
        timeout: float | None = None,  # noqa: ARG002
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        """Refused."""
        raise Forbidden("it is not on the public internet")

    def _is_allowed(self, address: str) -> bool:
        return self._allow_private or is_public(address) or _is_in(address, self._networks)

    def _resolve(self, host: str, port: int) -> Iterable[str]:
        """The resolver's answer. The system's own has no limit of time, so a thread waits for it
        that may be left behind.
        """
        answers: list[Iterable[str] | Exception] = []

        def ask() -> None:
            try:
                answers.append(self._resolver(host, port))
            except Exception as error:
                answers.append(error)

        asking = threading.Thread(target=ask, daemon=True, name="resolve")
        asking.start()
        asking.join(self.left())
        if not answers:
            raise httpcore.ConnectTimeout("the name was not resolved in time")
        if isinstance(answers[0], Exception):
            raise answers[0]
        return answers[0]


class _Stream(httpcore.NetworkStream):
    """A connection on which every step has only the time that is left of the whole."""

    def __init__(self, stream: httpcore.NetworkStream, guard: Guard) -> None:
        self._stream = stream
        self._guard = guard

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return self._stream.read(min(max_bytes, _READ_BYTES), self._guard.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        self._stream.write(buffer, self._guard.left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: Any,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        # The certificate is checked for the name, though the connection went to an address.
        tls = self._stream.start_tls(ssl_context, server_hostname, self._guard.left())
        return _Stream(tls, self._guard)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
