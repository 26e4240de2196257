"""A digest's mail, encoded once: what one reader's differs in is filled in as bytes.

The bytes are the very same that `message.build` makes of the reader's letter and headers, in a
two hundredth of the time. Nothing of it is parsed, escaped or encoded again for each reader but
the few values.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from operator import itemgetter

from newsletter.errors import BadInput
from newsletter.mail import quoted
from newsletter.mail.fields import Headers, fields, subject_value
from newsletter.mail.frozen import FrozenLetter, clean, filled
from newsletter.mail.message import around_parts, check_wire
from newsletter.mail.quoted import Pieces

# The places of what differs from reader to reader, but for the slots of the letter, which follow.
_TO, _DATE, _MESSAGE_ID, _UNSUBSCRIBE, _KEY, _SUBJECT, _FIRST_SLOT = range(7)
_OF_FIELD = {"To": _TO, "Date": _DATE, "Message-ID": _MESSAGE_ID}

# What stands in a header as it is must not be able to end it. An address and a Message-ID were
# checked when they came; this is the last look.
_SAFE = re.compile(
    "[^\x00-\x20\x7f-\xa0\u2028\u2029\u202a-\u202e\u2066-\u2069<>,]+ "
    r"<[!-;=?@-~]{1,900}> https?://[!-;=?-~]{1,900} [!-~]{1,900}"
)
# Neither HTML nor quoted-printable have another way to write it, but for two blanks in a row.
_AS_IT_IS = re.compile(r"[ !#-%(-;?-~]+")


class Skeleton:
    """The mails of one digest from one sender.

    letter: one that has slots (FrozenLetter.text is not None). headers: those of any reader's
    mail; what differs from reader to reader in them is left out.

    Raises BadInput when no mail can be made of them.
    """

    def __init__(self, letter: FrozenLetter, headers: Headers) -> None:
        if letter.subject is None or letter.text is None or letter.html is None:
            raise ValueError("a letter that is rendered for each reader has no skeleton")
        self._subject = letter.subject
        self._names = sorted({*letter.subject[1::2], *letter.text[1::2], *letter.html[1::2]})
        form = _Form()
        self._add_fields(form, headers)
        before_text, before_html, end = around_parts(headers)
        form.add(before_text)
        self._add_part(form, letter.text, in_html=False)
        form.add(before_html)
        self._add_part(form, letter.html, in_html=True)
        form.add(end)
        self._pieces: list[bytes] = form.pieces()
        self._order = itemgetter(*form.places)
        self._check(headers)

    def fill(
        self,
        *,
        to_address: str,
        date: str,
        message_id: str,
        unsubscribe_url: str,
        key: str,
        values: Mapping[str, str],
    ) -> bytes:
        """One reader's mail.

        to_address: as `wire_address` gives it. date: as `date_value` gives it. unsubscribe_url:
            for List-Unsubscribe. key: of the idempotency header, if there is one.
        values: slot name to text, as FrozenLetter.fill takes them.

        Raises BadInput when one of these cannot stand where it belongs.
        """
        if not _SAFE.fullmatch(f"{to_address} {message_id} {unsubscribe_url} {key}"):
            raise BadInput("A header cannot hold this reader's address, link or Message-ID.")
        found = [
            to_address.encode(),
            date.encode(),
            message_id.encode(),
            unsubscribe_url.encode(),
            key.encode(),
            self._subject_of(values) if len(self._subject) > 1 else b"",
        ]
        for name in self._names:
            found += _both(values[name])
        pieces = self._pieces.copy()
        pieces[1::2] = self._order(found)
        return b"".join(pieces)

    def _subject_of(self, values: Mapping[str, str]) -> bytes:
        plain = {name: clean(values[name]) for name in self._subject[1::2]}
        return subject_value("".join(filled(self._subject, plain))).encode()

    def _add_fields(self, form: _Form, headers: Headers) -> None:
        of_field = dict(_OF_FIELD)
        if headers.idempotency:
            of_field[headers.idempotency[0]] = _KEY
        if len(self._subject) > 1:
            of_field["Subject"] = _SUBJECT
        for name, value in fields(self._subject[0], headers):
            form.add(f"{name}: ".encode())
            if name in of_field:
                form.add_slot(of_field[name])
            elif name == "List-Unsubscribe" and headers.list_unsubscribe_url:
                form.add(b"<")
                form.add_slot(_UNSUBSCRIBE)
                form.add(value[1 + len(headers.list_unsubscribe_url) :].encode())
            else:
                form.add(value.encode())
            form.add(b"\r\n")

    def _add_part(self, form: _Form, pieces: Pieces, *, in_html: bool) -> None:
        *some, end = pieces
        for number, piece in enumerate(some):
            if number % 2:
                form.add_slot(_FIRST_SLOT + 2 * self._names.index(piece) + in_html)
            else:
                form.add(quoted.static(piece))
        form.add(quoted.last(end))

    def _check(self, headers: Headers) -> None:
        """What is the same in all mails is checked once, in one of them."""
        raw = self.fill(
            to_address="reader@example.org",
            date="Sun, 01 Mar 2026 12:00:00 +0000",
            message_id="<1@example.org>",
            unsubscribe_url="https://example.org/1",
            key="1",
            values=dict.fromkeys(self._names, "x"),
        )
        check_wire(raw, also=headers.idempotency[:1] if headers.idempotency else ())


class _Form:
    """Bytes and places in turns, as they are added."""

    def __init__(self) -> None:
        self._static: list[bytearray] = [bytearray()]
        self.places: list[int] = []

    def add(self, text: bytes) -> None:
        self._static[-1] += text

    def add_slot(self, place: int) -> None:
        self.places.append(place)
        self._static.append(bytearray())

    def pieces(self) -> list[bytes]:
        found = [b""] * (2 * len(self._static) - 1)
        found[::2] = map(bytes, self._static)
        return found


def _both(value: str) -> tuple[bytes, bytes]:
    """A slot's value for the text part and for the HTML part, encoded."""
    if _AS_IT_IS.fullmatch(value) and "  " not in value:
        encoded = quoted.line(value.encode()) + quoted.SOFT
        return encoded, encoded
    plain = clean(value)
    encoded = quoted.value(plain)
    escaped = html.escape(plain, quote=True)
    return encoded, encoded if escaped == plain else quoted.value(escaped)
