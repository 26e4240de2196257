"""Quoted-printable in pieces: it reads back, and nothing on the way has a reason to touch it."""

from __future__ import annotations

import quopri
import re

from dkim.canonicalization import Relaxed
from hypothesis import example, given
from hypothesis import strategies as st

from newsletter.mail import quoted

TEXT = st.text(max_size=200) | st.text("From .=\n\té€", max_size=300)
VALUE = TEXT.map(lambda text: re.sub("[\r\n]", " ", text))
PIECES = st.lists(st.tuples(VALUE, TEXT), max_size=4)
_LOST = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def in_turns(start: str, rest: list[tuple[str, str]]) -> list[str]:
    return [start, *(piece for pair in rest for piece in pair)]


def meant(pieces: list[str]) -> str:
    """What a body of these pieces says."""
    static = [
        _LOST.sub("", piece.replace("\r\n", "\n").replace("\r", "\n")) for piece in pieces[::2]
    ]
    static[-1] = static[-1].rstrip("\n") + "\n"
    values = [re.sub("[\ud800-\udfff]", "", value) for value in pieces[1::2]]
    return "".join(in_turns(static[0], list(zip(values, static[1:], strict=True))))


@given(TEXT, PIECES)
@example("Hello ", [("Ada", ",\n"), ("", ""), (" .", ".\n.\n")])
@example("", [("From x", "From y\nFrom z")])
@example("." * 80, [("." * 80, " \n \n")])
@example("a" * 74 + "é", [("a" * 75, "a" * 75 + "\n"), ("a" * 76, "a" * 76 + "\n")])
@example("a" * 73 + " \n", [(" " * 80, "\t\t\n"), ("\t", "\n\n\n")])
def test_a_body_reads_back(start: str, rest: list[tuple[str, str]]) -> None:
    """Decoded, it is what the pieces say together, whatever stands at their edges."""
    pieces = in_turns(start, rest)
    raw = quoted.body(pieces)
    assert quopri.decodestring(raw.replace(b"\r\n", b"\n")).decode() == meant(pieces)


@given(TEXT, PIECES)
@example("." * 200, [("From " * 40, "From\n" + "From " * 40 + "\n.")])
def test_nothing_on_the_way_changes_it(start: str, rest: list[tuple[str, str]]) -> None:
    """No long line, no dot to be doubled, no "From " to be quoted, no blank to be cut or joined:
    the relaxed form of DKIM, as dkimpy makes it, is the body itself."""
    raw = quoted.body(in_turns(start, rest))
    assert raw.isascii() and raw.endswith(b"\r\n")
    assert raw.count(b"\r") == raw.count(b"\n") == raw.count(b"\r\n")
    lines = raw.split(b"\r\n")
    assert max(map(len, lines)) <= 76
    assert not any(line.startswith((b".", b"From ")) for line in lines)
    ended = raw + b"--boundary--\r\n"
    assert Relaxed.canonicalize_body(ended) == ended


@given(TEXT, VALUE, TEXT, VALUE, TEXT)
def test_a_piece_knows_nothing_of_its_neighbours(
    before: str, value: str, between: str, other: str, after: str
) -> None:
    """What is the same for all readers is the same bytes, whatever the values are."""
    raw = quoted.body([before, value, between, other, after])
    assert raw == quoted.static(before) + quoted.value(value) + quoted.static(
        between
    ) + quoted.value(other) + quoted.last(after)
