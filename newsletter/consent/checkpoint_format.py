"""A checkpoint's text, as C2SP's tlog-checkpoint has it: origin, size and root of a log."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from newsletter.errors import BadNote

_SIZE = re.compile(r"0|[1-9][0-9]*")


@dataclass(frozen=True)
class Checkpoint:
    """What a log says of itself: its name, how many leaves it has, and the root over them."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """The checkpoint of such a text; raises BadNote when it is none. Extensions are ignored."""
        lines = text.split("\n")
        if len(lines) < 4 or not lines[0] or not _SIZE.fullmatch(lines[1]):
            raise BadNote("this is not a checkpoint")
        try:
            root = base64.b64decode(lines[2], validate=True)
        except ValueError as error:
            raise BadNote("this is not a checkpoint") from error
        if len(root) != 32 or base64.b64encode(root).decode() != lines[2]:
            raise BadNote("this is not a checkpoint")
        return cls(lines[0], int(lines[1]), root)
