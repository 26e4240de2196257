"""What reaches a terminal: never a control character that somebody else wrote."""

from __future__ import annotations

import json
import os
import pty
import sqlite3
import unicodedata
from contextlib import closing
from typing import Any

import pytest
from commandline import Home
from hypothesis import given
from hypothesis import strategies as st

from newsletter.cli import output

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31mRed\u202eevil\u2066\r\n\x00\x7f[bold]B[/bold]"


@given(st.text())
def test_clean_lets_nothing_through(text: str) -> None:
    """One line, without anything that moves, hides or turns text."""
    shown = output.clean(text)
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cs", "Co", "Zl", "Zp"}
    assert not any(unicodedata.category(c) == "Cf" for c in shown if c not in "\u200c\u200d")
    assert output.clean(shown) == shown


def test_clean_keeps_names() -> None:
    """Names of any script stay as they are, joiners included."""
    for name in ("Zoë Ōe", "محمد", "می\u200cخواهم", "李小龍", "👩\u200d🌾"):
        assert output.clean(name) == name


@given(st.recursive(st.none() | st.booleans() | st.text(), st.lists))
def test_json_is_ascii_on_one_line(value: Any) -> None:
    """JSON says the same, and a terminal sees only printable ASCII."""
    text = output.as_json_text(value)
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text) == value


def _on_a_terminal(home: Home, *words: str) -> str:
    """What the command writes to a terminal."""
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200"}
    running = home.process(*words, stdin=slave, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    shown = b""
    try:
        while piece := os.read(master, 65536):
            shown += piece
    except OSError:  # the terminal's other end is closed
        pass
    finally:
        os.close(master)
    assert running.wait(60) == 0
    return shown.decode()


@pytest.fixture
def hostile_home(home: Home) -> Home:
    """A reader whose name is written for terminals, put in behind the import's back."""
    home.publish()
    home.bring_in("ada@example.net")
    with closing(sqlite3.connect(home.database)) as connection:
        connection.execute("UPDATE subscriber SET name = ?", (HOSTILE,))
        connection.commit()
    return home


@pytest.mark.parametrize(
    "words",
    [
        ("subscriber", "list"),
        ("subscriber", "show", "ada@example.net"),
        ("subscriber", "export"),
        ("subscriber", "export", "--json"),
        ("subscriber", "list", "--json"),
    ],
    ids=" ".join,
)
def test_a_hostile_name_on_a_terminal(hostile_home: Home, words: tuple[str, ...]) -> None:
    """No title is set, no screen cleared, no text turned round; markup is not markup."""
    shown = _on_a_terminal(hostile_home, *words)
    for sequence in ("\x1b]", "\x1b[2J", "\x9b", "\u202e", "\u2066", "\x07", "\x00", "\x7f"):
        assert sequence not in shown
    assert "[bold]B[/bold]" in shown


def test_a_table_on_a_terminal(hostile_home: Home) -> None:
    """People see a table with a rule under its head."""
    shown = _on_a_terminal(hostile_home, "publication", "list")
    assert "─" in shown
    assert "Field Notes" in shown


def test_plain_lines_in_a_pipe(hostile_home: Home) -> None:
    """A pipe gets aligned lines without colours, tabs or controls."""
    lines = hostile_home.run("subscriber", "list").stdout.splitlines()
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)
    assert lines[1].index("field-notes") == lines[0].index("PUBLICATION")
