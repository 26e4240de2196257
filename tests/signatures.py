"""What tests of DKIM share: keys, mails to sign, and dkimpy as the receiver that verifies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

import dkim

from newsletter.mail.dkim_key import Algorithm, Key

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


@cache
def key(selector: str = "s1", domain: str = "example.org", algorithm: Algorithm = "rsa") -> Key:
    """A key; the same one each time, as they are slow to make."""
    return Key.fresh(selector, domain, algorithm)


def dns(*keys: Key) -> Callable[..., bytes | None]:
    """A name server that has the records of these keys and no other ones."""
    records = {f"{each.name}.".encode(): each.record.encode() for each in keys}
    return lambda name, timeout=5: records.get(name)


def passes(mail: bytes, *keys: Key, number: int = 0) -> bool:
    """Whether dkimpy takes the signature of this number, from above, for a good one."""
    try:
        return bool(dkim.DKIM(mail).verify(number, dns(*keys)))
    except (dkim.DKIMException, ValueError):  # NaCl raises it for a signature of another size
        return False


def all_pass(mail: bytes, keys: Sequence[Key]) -> bool:
    """Whether the mail begins with good signatures of these keys, in this order."""
    return all(passes(mail, each, number=number) for number, each in enumerate(keys))


@dataclass(frozen=True)
class Written:
    """A letter as newsletter.mail.message.build sees it."""

    subject: str = "The meadow in March"
    text: str = "Hello,\n\nthe meadow is green.\n"
    html: str = "<p>Hello,</p>\n<p>the meadow is green.</p>\n"

    @property
    def pieces(self) -> tuple[tuple[str], tuple[str]]:
        return (self.text,), (self.html,)
