"""How the process gets the memory for one batch of mails after the other, and loses it again."""

from __future__ import annotations

import gc
from functools import cache

# The most that glibc takes for a hint; see mallopt(3), M_MMAP_THRESHOLD.
_BLOCK = 31 * 1024 * 1024
# Of objects that were made and not dropped since the last look; Python begins with 700, 10, 10.
_THRESHOLDS = (20_000, 10, 10)


def keep_freed_memory() -> None:
    """Let what one batch of mails leaves free wait for the next.

    glibc gives pages back as soon as 128 KiB at the end of its heap are free, and gets them anew
    for the next batch; to have them cleared took a third of the time in which mails are written
    (measured). When a block as large as this one was freed, it waits for twice as much. The block
    itself is never touched, and so takes no memory. Where there is no glibc, nothing happens.
    """
    block = bytes(_BLOCK)
    del block


@cache
def collect_seldom() -> None:
    """Let Python look for circles of garbage less often; a process needs it once.

    A batch's mails are some thousand objects, which the collector would walk through again and
    again while they wait for their turn, and never find anything: one part in twenty-five of the
    time in which mails are sent (measured). What was there at the start is not looked at any more.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
