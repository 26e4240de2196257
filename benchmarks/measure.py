"""What a command costs: its time, the processor time and the memory of it and its children.

Also what the machine did meanwhile, and how many RSA signatures it makes a second. Linux only:
memory and the machine's load are read from /proc.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

_TICKS = os.sysconf("SC_CLK_TCK")
# Seconds between two looks at the memory. What is looked at is the peak that the kernel keeps for
# each process, so that only a process that lives shorter can be missed.
_LOOK = 0.1
KEY_BITS = 2048


class Failed(Exception):
    """A command that was to be measured ended with an error; says what it printed."""


@dataclass(frozen=True)
class Ran:
    """What a command cost. `cpu` counts its children too, as far as it waited for them.

    seconds: from its start to its end. cpu: seconds of processor time. mib: the peaks of it and
    of its children, added up. busy: cores that were not idle on average, whoever used them.
    output: its standard output.
    """

    seconds: float
    cpu: float
    mib: float
    busy: float
    output: str


def run(command: Sequence[object], environ: Mapping[str, str], log: Path) -> Ran:
    """Run a command to its end. Its standard error goes to the end of `log`.

    Raises Failed when it ends with an error.
    """
    words = [str(word) for word in command]
    output = log.with_suffix(".out")
    with log.open("ab") as errors, output.open("w+b") as printed:
        before, began = _machine(), time.perf_counter()
        process = subprocess.Popen(words, env=dict(environ), stdout=printed, stderr=errors)
        memory = _Memory(process.pid)
        memory.start()
        # wait4 tells the processor time; Popen must not wait for it a second time.
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        memory.end()
        busy = (_machine() - before) / seconds
    if process.returncode != 0:
        said = log.read_text(encoding="utf-8", errors="replace")[-2000:]
        raise Failed(f"{' '.join(words)} ended with {process.returncode}:\n{said}")
    # ru_maxrss is the largest of the processes, in KiB; it is exact, also for a short run.
    mib = max(memory.mib, usage.ru_maxrss / 1024)
    cpu = usage.ru_utime + usage.ru_stime
    return Ran(seconds, cpu, mib, busy, output.read_text(encoding="utf-8"))


def cpu_of(pid: int) -> float:
    """Seconds of processor time that a running process, its children and their children took."""
    found = 0
    for each in _family(pid):
        with suppress(OSError):  # ended meanwhile; whoever waited for it has its time
            # Its own, and that of the children that it waited for; proc(5).
            found += sum(int(ticks) for ticks in _stat(each)[11:15])
    return found / _TICKS


def parent_of(pid: int) -> int:
    """The process that started this one."""
    return int(_stat(pid)[1])


def signatures() -> tuple[float, float]:
    """RSA-2048 signatures a second: of one process, and of one on each core at the same time."""
    cores = os.cpu_count() or 1
    with ProcessPoolExecutor(cores, initializer=_make_key) as pool:
        list(pool.map(_sign_for, [0.1] * cores))  # until all of them have started
        alone = pool.submit(_sign_for, 0.7).result()
        together = sum(pool.map(_sign_for, [0.7] * cores))
    return alone, together


_key: rsa.RSAPrivateKey | None = None


def _make_key() -> None:
    global _key  # one for each process of the pool
    _key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)


def _sign_for(seconds: float) -> float:
    """Signatures a second, as `cryptography` makes them over a hash."""
    assert _key is not None
    how, kind, digest = padding.PKCS1v15(), Prehashed(hashes.SHA256()), bytes(32)
    made, began = 0, time.perf_counter()
    while (took := time.perf_counter() - began) < seconds:
        _key.sign(digest, how, kind)
        made += 1
    return made / took


class _Memory(threading.Thread):
    """Watches the peak memory of a process and of its children."""

    def __init__(self, pid: int) -> None:
        super().__init__(name="memory")
        self._pid = pid
        self._peaks: dict[int, float] = {}
        self._ending = threading.Event()

    @property
    def mib(self) -> float:
        """The peaks of all that were seen, added up."""
        return sum(self._peaks.values())

    def end(self) -> None:
        """Look no more."""
        self._ending.set()
        self.join()

    def run(self) -> None:
        while not self._ending.wait(_LOOK):
            for pid in _family(self._pid):
                self._peaks[pid] = max(self._peaks.get(pid, 0.0), _peak(pid))


def _stat(pid: int) -> list[str]:
    """The fields of proc(5) from the state on; the name before it may hold blanks."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()


def _family(pid: int) -> list[int]:
    """The process and its children's children."""
    found = [pid]
    for each in found:
        for file in Path(f"/proc/{each}/task").glob("*/children"):
            try:
                found += [int(number) for number in file.read_text(encoding="ascii").split()]
            except OSError:
                continue  # ended meanwhile
    return found


def _peak(pid: int) -> float:
    """The most memory that a process ever had, in MiB; 0 for one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def _machine() -> float:
    """Seconds of processor time that all cores together were not idle, since the machine began."""
    first = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]
    ticks = [int(each) for each in first]
    # user, nice, system, idle, iowait, irq, softirq, steal; guests are part of user and nice.
    return (sum(ticks[:8]) - ticks[3] - ticks[4]) / _TICKS
