"""A disk for SQLite that remembers what was really written down, and can fail.

`install` puts a layer under SQLite in this process (a VFS of its own, by ctypes): every write, cut
and sync of a database file is written into a log as it happens. `after_a_cut` then gives the files
as they would be found after the power went: all that was synced is there; of the rest nothing, or
any part of it. This is how SQLite tests itself, and what a SIGKILL can not show: a killed process
leaves its writes with the kernel.

The same layer can refuse: a disk that is full, that cannot sync, or that may only be read.
"""

from __future__ import annotations

import ctypes
import os
import random
import sqlite3
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator
from ctypes import CFUNCTYPE, POINTER, byref, c_char_p, c_int, c_int64, c_void_p
from pathlib import Path
from typing import Any

# https://www.sqlite.org/rescode.html
OK = 0
FULL = 13
CANNOT_SYNC = 10 | 4 << 8
CANNOT_WRITE = 10 | 3 << 8

_HEADER = struct.Struct("<cBqq")  # what, the file's number, offset, length
_SECTOR = 512

_Write = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_Truncate = CFUNCTYPE(c_int, c_void_p, c_int64)
_Sync = CFUNCTYPE(c_int, c_void_p, c_int)
# Names as pointers: SQLite keeps them, and looks behind their ends for parameters.
_Open = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, POINTER(c_int))
_Delete = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int)


class _Methods(ctypes.Structure):
    """sqlite3_io_methods; what is not wrapped is passed on as it is."""

    _fields_ = [
        ("version", c_int),
        ("close", c_void_p),
        ("read", c_void_p),
        ("write", _Write),
        ("truncate", _Truncate),
        ("sync", _Sync),
        ("rest", c_void_p * 13),
    ]


class _Vfs(ctypes.Structure):
    """sqlite3_vfs."""

    _fields_ = [
        ("version", c_int),
        ("file_size", c_int),
        ("max_path", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("data", c_void_p),
        ("open", _Open),
        ("delete", _Delete),
        ("rest", c_void_p * 14),
    ]


# (what is done: "write", "truncate" or "sync"; the file's name) -> a result code; OK to go on.
Refusal = Callable[[str, str], int]


class _Layer:
    """What stands between SQLite and its files; lives as long as the process."""

    def __init__(self, library: Any, log: Path, refuse: Refusal | None) -> None:
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._refuse = refuse
        self._numbers: dict[str, int] = {}
        self._files: dict[int, str] = {}
        self._wrapped: dict[int, tuple[_Methods, _Methods]] = {}
        self._of_file: dict[int, _Methods] = {}
        library.sqlite3_vfs_find.restype = POINTER(_Vfs)
        self._under = library.sqlite3_vfs_find(None)
        self._own = _Vfs()
        ctypes.memmove(byref(self._own), self._under, ctypes.sizeof(_Vfs))
        self._own.name = b"crash"
        self._own.open = _Open(self._open)
        self._own.delete = _Delete(self._delete)
        if library.sqlite3_vfs_register(byref(self._own), 1) != OK:
            raise OSError("SQLite did not take the layer")

    def _note(self, what: bytes, name: str, offset: int = 0, data: bytes | int = b"") -> None:
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self._numbers)
            raw = name.encode()
            os.write(self._log, _HEADER.pack(b"N", number, 0, len(raw)) + raw)
        length = data if isinstance(data, int) else len(data)
        raw = b"" if isinstance(data, int) else data
        os.write(self._log, _HEADER.pack(what, number, offset, length) + raw)

    def _open(self, _vfs: int, name: int | None, file: int, flags: int, out: Any) -> int:
        code = self._under[0].open(ctypes.cast(self._under, c_void_p), name, file, flags, out)
        methods = ctypes.cast(file, POINTER(c_void_p))
        if code != OK or name is None or not methods[0]:
            return code
        self._files[file] = _base(name)
        if methods[0] not in self._wrapped:
            under = ctypes.cast(methods[0], POINTER(_Methods))[0]
            own = _Methods()
            ctypes.memmove(byref(own), methods[0], ctypes.sizeof(_Methods))
            own.write, own.truncate = _Write(self._write), _Truncate(self._truncate)
            own.sync = _Sync(self._sync)
            self._wrapped[methods[0]] = (under, own)
        under, own = self._wrapped[methods[0]]
        self._of_file[file] = under
        methods[0] = ctypes.addressof(own)
        return code

    def _write(self, file: int, data: int, length: int, offset: int) -> int:
        name = self._files[file]
        if code := self._refused("write", name):
            return code
        # Noted first: a write that is half done when the process is killed may be on the disk.
        self._note(b"W", name, offset, ctypes.string_at(data, length))
        return self._of_file[file].write(file, data, length, offset)

    def _truncate(self, file: int, size: int) -> int:
        name = self._files[file]
        if code := self._refused("truncate", name):
            return code
        self._note(b"T", name, size)
        return self._of_file[file].truncate(file, size)

    def _sync(self, file: int, _flags: int) -> int:
        # The log is the disk: what it says was synced, was; so nobody has to wait for a real one.
        name = self._files[file]
        if code := self._refused("sync", name):
            return code
        self._note(b"S", name)
        return OK

    def _delete(self, _vfs: int, name: int, directory: int) -> int:
        self._note(b"D", _base(name))
        return self._under[0].delete(ctypes.cast(self._under, c_void_p), name, directory)

    def _refused(self, what: str, name: str) -> int:
        return self._refuse(what, name) if self._refuse else OK


def _base(name: int) -> str:
    return Path(ctypes.string_at(name).decode()).name


_layers: list[_Layer] = []


def install(log: Path, refuse: Refusal | None = None) -> None:
    """Watch all databases that this process opens from now on; what happens goes to `log`.

    Raises OSError when this Python's SQLite cannot be reached.
    """
    import _sqlite3

    # Where SQLite is a part of Python's own module, its functions are there.
    for name in ("libsqlite3.so.0", _sqlite3.__file__):
        library = ctypes.CDLL(name)
        if not hasattr(library, "sqlite3_vfs_register"):
            continue
        library.sqlite3_libversion.restype = c_char_p
        if library.sqlite3_libversion().decode() == sqlite3.sqlite_version:
            _layers.append(_Layer(library, log, refuse))
            return
    raise OSError("no SQLite that a layer could be put under")


def after_a_cut(log: Path, before: dict[str, bytes], lot: random.Random) -> dict[str, bytes]:
    """The files as they are found when the power comes back: {name: content}.

    before: as they were before `install`. lot: draws how much of what was not synced is there.
    """
    files = {name: bytearray(content) for name, content in before.items()}
    pending: dict[str, list[tuple[bytes, int, bytes]]] = defaultdict(list)
    for what, name, offset, data in _entries(log):
        if what == b"D":
            files.pop(name, None)
            pending.pop(name, None)
        elif what == b"S":
            for entry in pending.pop(name, []):
                _apply(files.setdefault(name, bytearray()), *entry)
        else:
            pending[name].append((what, offset, data))
    share = lot.choice((0.0, 0.5, 0.95))
    for name, entries in pending.items():
        for what, offset, data in entries:
            for start in range(0, max(len(data), 1), _SECTOR):
                if lot.random() < share:
                    sector = data[start : start + _SECTOR]
                    _apply(files.setdefault(name, bytearray()), what, offset + start, sector)
    return {name: bytes(content) for name, content in files.items()}


def _apply(content: bytearray, what: bytes, offset: int, data: bytes) -> None:
    if what == b"T":
        del content[offset:]
        return
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _entries(log: Path) -> Iterator[tuple[bytes, str, int, bytes]]:
    names: dict[int, str] = {}
    raw, at = log.read_bytes(), 0
    while at + _HEADER.size <= len(raw):
        what, number, offset, length = _HEADER.unpack_from(raw, at)
        at += _HEADER.size
        data = raw[at : at + length] if what in (b"W", b"N") else b""
        at += len(data)
        if what == b"N":
            names[number] = data.decode()
        else:
            yield what, names[number], offset, data
