"""What tests of DKIM share: keys, mails to sign, and dkimpy as the receiver that verifies."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
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


def parts(mail: bytes) -> tuple[list[bytes], list[bytes], bytes]:
    """The signatures, the other fields, each with its last CRLF, and the body."""
    head, _, body = mail.partition(b"\r\n\r\n")
    fields = [each + b"\r\n" for each in re.split(rb"\r\n(?![ \t])", head)]
    mine = [each for each in fields if each.startswith(b"DKIM-Signature:")]
    return mine, fields[len(mine) :], body


def joined(signatures: Sequence[bytes], fields: Sequence[bytes], body: bytes) -> bytes:
    """The mail of such parts."""
    return b"".join((*signatures, *fields, b"\r\n", body))


def tags(signature: bytes) -> dict[str, str]:
    """What a signature says."""
    text = re.sub(r"\s+", "", signature.decode().partition(":")[2])
    return dict(tag.partition("=")[::2] for tag in text.split(";"))


def changed_words(mail: bytes, *, but: Collection[str] = ()) -> Iterator[bytes]:
    """The mail with each word of each field changed, in its case too, taken away and doubled.

    but: fields that are not signed.
    """
    signatures, fields, body = parts(mail)
    for number, field in enumerate(fields):
        name, _, value = field.partition(b":")
        if name.decode() in but:
            continue
        for word in re.finditer(rb"[^ \r\n]+", value):
            first, last = word.span()
            for other in {b"x" + word[0][1:], word[0].swapcase(), b"", word[0] * 2} - {word[0]}:
                changed = b"%b:%b" % (name, value[:first] + other + value[last:])
                yield joined(signatures, [*fields[:number], changed, *fields[number + 1 :]], body)


def changed_bytes(mail: bytes) -> Iterator[bytes]:
    """The mail with each byte of its body changed, and with each one taken away."""
    signatures, fields, body = parts(mail)
    for at in range(len(body)):
        other = b"x" if body[at : at + 1] != b"x" else b"y"
        yield joined(signatures, fields, body[:at] + other + body[at + 1 :])
        # dkimpy takes a line end without CR for a line end, and blank lines at the end for none.
        if body[at : at + 1] not in b"\r\n":
            yield joined(signatures, fields, body[:at] + body[at + 1 :])
