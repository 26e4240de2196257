"""Where the time of a part goes: the same sending, under a profiler, and its dearest functions."""

from __future__ import annotations

import pstats
import sys
import tempfile
from pathlib import Path
from typing import Literal

from parts import Bench
from turns import Setting, url

_SHOWN = 25
# A thread with less of the time than this is not shown.
_SHARE = 0.05


def show(setting: Setting, clock: Literal["cpu", "wall"], bench: Bench) -> None:
    """Send one digest under a profiler, and print the dearest functions of each busy thread.

    The figures are microseconds for each mail. Not counted: what signing processes do.
    """
    script = Path(__file__).resolve().with_name("profiled.py")
    digest = setting.stage.digest(setting.slug)
    with tempfile.TemporaryDirectory() as name, setting.sink() as receiver:
        folder = Path(name)
        ran = setting.stage.send(
            digest, program=(script, folder, clock), smtp_url=url(receiver), **setting.settings
        )
        sent = setting.stage.sent(digest)
        bench.say(f"{sent.accepted} mails in {ran.seconds:.1f} s under the profiler")
        for file in sorted(folder.glob("*.prof"), reverse=True):
            _print(pstats.Stats(str(file)), file.stem, sent.accepted, ran.seconds)


def _print(found: pstats.Stats, thread: str, mails: int, seconds: float) -> None:
    calls = found.stats  # type: ignore[attr-defined]  # (file, line, name): (.., calls, own, all, ..)
    total = sum(each[2] for each in calls.values())
    if total < _SHARE * seconds:
        return
    print(f"\n{thread}: {total / mails * 1e6:.1f} us a mail")
    print(f"{'own us':>9} {'with callees':>13} {'calls':>7}  function (per mail)")
    dearest = sorted(calls.items(), key=lambda each: -each[1][2])
    for (file, line, name), (_, count, own, whole, _) in dearest[:_SHOWN]:
        place = f"{_short(file)}:{line} " if line else ""
        print(
            f"{own / mails * 1e6:9.2f} {whole / mails * 1e6:13.2f} {count / mails:7.2f}  "
            f"{place}{name}"
        )
    sys.stdout.flush()


def _short(file: str) -> str:
    """The end of a path: what tells one file from another."""
    return "/".join(Path(file).parts[-3:])
