"""A frozen digest, filled in for one reader."""

from __future__ import annotations

import pytest

from newsletter.errors import BadInput
from newsletter.mail.frozen import FrozenLetter, fill, greeting

FROZEN = {
    "version": 1,
    "content": {"language": "en"},
    "subject": "News for t1",
    "text": "t2\nLeave: t3",
    "html": '<p>t2</p><a href="t3">Leave</a>',
    "slots": {"name": "t1", "greeting": "t2", "unsubscribe_url": "t3"},
}
VALUES = {"name": "Ada", "greeting": "Hello Ada,", "unsubscribe_url": "https://x.example/u?a=1&b=2"}


def test_every_slot_gets_its_value():
    """The text part has the values as they are, the HTML part escaped."""
    letter = fill(FROZEN, VALUES)
    assert letter.subject == "News for Ada"
    assert letter.text == "Hello Ada,\nLeave: https://x.example/u?a=1&b=2"
    assert letter.html == ('<p>Hello Ada,</p><a href="https://x.example/u?a=1&amp;b=2">Leave</a>')


def test_a_name_with_script_in_it_is_text():
    """Markup in a value stays text in the HTML part."""
    letter = fill(FROZEN, VALUES | {"greeting": 'Hello <script>"x"</script>,'})
    assert "<script>" not in letter.html
    assert "&lt;script&gt;&quot;x&quot;" in letter.html


def test_a_value_that_names_a_slot_is_not_filled_in():
    """What a reader typed is never taken for a slot."""
    letter = fill(FROZEN, VALUES | {"greeting": "Hello t3,"})
    assert letter.text.startswith("Hello t3,\n")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\0", "\u2028", "\x85", "\x0b"])
def test_a_value_stays_on_its_line(end: str):
    """Line ends and controls in a value become a blank: no header can be made of them."""
    letter = fill(FROZEN, VALUES | {"name": f"Ada{end}Bcc: v@example.org"})
    assert letter.subject == "News for Ada Bcc: v@example.org"


def test_a_missing_value_is_named():
    """A slot without a value is an error of ours, not a mail with a token in it."""
    with pytest.raises(BadInput, match="unsubscribe_url"):
        fill(FROZEN, {"name": "Ada", "greeting": "Hello,"})


def test_more_values_than_slots_are_fine():
    """A template need not use every value."""
    assert fill(FROZEN | {"slots": {}}, VALUES).subject == "News for t1"


@pytest.mark.parametrize("name", [None, "", "  "])
def test_the_greeting_without_a_name(name: str | None):
    """A reader who gave no name is greeted without one."""
    assert greeting(name, "en") == "Hello,"


def test_the_greeting_with_a_name():
    """A percent sign in a name is a percent sign."""
    assert greeting(" 100% Ada ", "en") == "Hello 100% Ada,"


@pytest.mark.parametrize("version", [None, 0, 3, "2"])
def test_content_of_another_version_is_not_guessed_at(version: object) -> None:
    """It says which version it is, and who can send it."""
    with pytest.raises(BadInput, match=f"version {version!r}; this one knows 1 and 2"):
        fill(FROZEN | {"version": version}, VALUES)


def test_the_pieces_say_what_is_whose() -> None:
    """Static text and values in turns; together they are the part."""
    letter = fill(FROZEN, VALUES)
    text, html = letter.pieces
    assert tuple(text) == ("", "Hello Ada,", "\nLeave: ", VALUES["unsubscribe_url"], "")
    assert "".join(html) == letter.html


def test_content_without_a_hash_has_a_name_too() -> None:
    """What its mails have in common is named by what it says."""
    one = FrozenLetter(FROZEN).series
    assert one == FrozenLetter(dict(FROZEN)).series
    assert one != FrozenLetter(FROZEN | {"text": "t2"}).series
    assert FrozenLetter(FROZEN | {"sha256": "ab" * 32}).series == "ab" * 32
