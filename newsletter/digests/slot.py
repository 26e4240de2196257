"""A place in a letter that each reader's value will take, as templates see it."""

from __future__ import annotations

import secrets
from typing import Any, NoReturn


class LookedAt(Exception):
    """A template did something with a slot that depends on the value which will be there."""


class Slot:
    """Stands for a value that is not known yet: it can be shown, and nothing else.

    token: what is shown, a word that nobody can have written before. shown: how often a template
    asked for it; what became of the text then can be seen by counting the tokens in the result.
    """

    def __init__(self) -> None:
        self.token = f"slot{secrets.token_hex(16)}"
        self.shown = 0

    def __str__(self) -> str:
        self.shown += 1
        return self.token

    def __html__(self) -> str:
        """The value will be escaped when it comes; the token has nothing to escape."""
        return str(self)

    def _look(self, *_arguments: Any) -> NoReturn:
        raise LookedAt

    # A condition, a comparison, a loop, arithmetic, a part of the value, a method of str.
    __bool__ = __len__ = __iter__ = __contains__ = __getitem__ = __getattr__ = _look
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __hash__ = _look
    __add__ = __radd__ = __mul__ = __rmul__ = __mod__ = __int__ = __float__ = __index__ = _look
    __format__ = __call__ = _look
