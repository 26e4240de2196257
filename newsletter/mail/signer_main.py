"""What a signing process does: `python -m newsletter.mail.signer_main`.

It reads mails out of memory that it shares with its parent, and answers with their DKIM-Signature
fields. The keys come over standard input, so no list of processes shows them. It ends when its
parent closes that, or dies.

First comes one line of JSON (`Start`); then for each chunk of mails a REQUEST and as many MAILs;
the answer is a REPLY, the length of each mail's fields (LENGTH), and the fields.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import signal
import struct
import sys
from dataclasses import asdict, dataclass
from typing import BinaryIO

from newsletter.errors import BadInput
from newsletter.mail.dkim import Bodies, Signer
from newsletter.mail.dkim_key import Key

REQUEST = struct.Struct("<QI")  # where in the memory the first mail begins; how many mails
MAIL = struct.Struct("<Iq")  # its length (the next one follows it), and the time of its signature
REPLY = struct.Struct("<QII")  # the place and the number of the request; the bytes that follow
LENGTH = struct.Struct("<I")
UNSIGNED = 2**32 - 1  # in place of a length: this mail cannot be signed


@dataclass(frozen=True)
class Start:
    """What a signing process needs to know.

    memory, size: the number of the shared file and its bytes. bodies: as Signer takes it.
    keys: the name and the PEM of each.
    """

    memory: int
    size: int
    bodies: Bodies
    keys: list[tuple[str, str]]

    def line(self) -> bytes:
        """The start as one line."""
        return json.dumps(asdict(self)).encode() + b"\n"


def sign_all(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer requests until there are no more."""
    start = Start(**json.loads(requests.readline()))
    keys = [Key.parse(name, pem.encode()) for name, pem in start.keys]
    signer = Signer(keys, bodies=start.bodies)
    with mmap.mmap(start.memory, start.size, access=mmap.ACCESS_READ) as memory:
        while len(head := requests.read(REQUEST.size)) == REQUEST.size:
            place, count = REQUEST.unpack(head)
            listed = requests.read(count * MAIL.size)
            if len(listed) < count * MAIL.size:
                return
            replies.write(_reply(signer, memory, place, listed))
            replies.flush()


def _reply(signer: Signer, memory: mmap.mmap, place: int, listed: bytes) -> bytes:
    lengths, texts, at = [], [], place
    for length, time in MAIL.iter_unpack(listed):
        try:
            fields = signer.fields(memory[at : at + length], time)
        except BadInput:
            lengths.append(LENGTH.pack(UNSIGNED))
        else:
            lengths.append(LENGTH.pack(len(fields)))
            texts.append(fields)
        at += length
    answer = b"".join((*lengths, *texts))
    return REPLY.pack(place, len(lengths), len(answer)) + answer


if __name__ == "__main__":
    # A stop meant for all processes of the group: the parent still needs the signatures of what
    # it is handing over.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with contextlib.suppress(BrokenPipeError):
        sign_all(sys.stdin.buffer, sys.stdout.buffer)
