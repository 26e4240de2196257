"""The body of an answer, read and decompressed with its limit in sight the whole time.

HTTP clients decompress what came in one go: sixteen kilobytes of gzip in gzip become gigabytes
before anybody counts them. Here no step makes more than the limit allows.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from newsletter.fetch.guard import Forbidden

# The coding that we ask for, and what servers send without being asked (RFC 9110 §8.4.1).
_GZIP = ("gzip", "x-gzip")


def read(parts: Iterable[bytes], encoding: str, *, limit: int) -> bytes:
    """The decompressed body.

    parts: the bytes as they come from the line. encoding: the header Content-Encoding, or "".
    limit: bytes of the result at most.

    Raises Forbidden when it is larger or of another coding, ValueError when it is broken.
    """
    coding = encoding.strip().lower()
    if coding in ("", "identity"):
        return _plain(parts, limit)
    if coding in _GZIP:
        return _inflated(parts, zlib.decompressobj(zlib.MAX_WBITS | 16), limit)
    if coding == "deflate":
        return _inflated(parts, zlib.decompressobj(), limit)
    raise Forbidden(f'it is coded as "{encoding[:40]}", which was not asked for')


def _plain(parts: Iterable[bytes], limit: int) -> bytes:
    whole = bytearray()
    for part in parts:
        whole += part
        _check(len(whole), limit)
    return bytes(whole)


def _inflated(parts: Iterable[bytes], stream: zlib._Decompress, limit: int) -> bytes:
    whole = bytearray()
    came = 0
    try:
        for part in parts:
            # What follows the end of the stream is not looked at, but it counts.
            came += len(part)
            _check(came, limit)
            if not stream.eof:
                whole += stream.decompress(part, limit + 1 - len(whole))
                _check(len(whole), limit)
    except zlib.error as error:
        raise ValueError("what it sent is not compressed as it says") from error
    if not stream.eof and came:
        raise ValueError("what it sent ends in the middle")
    return bytes(whole)


def _check(size: int, limit: int) -> None:
    if size > limit:
        raise Forbidden(f"it is larger than {limit:,} bytes")
