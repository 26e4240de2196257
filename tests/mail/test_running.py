"""Running text of a letter: what an article's HTML becomes there."""

from __future__ import annotations

import re

import pytest

from newsletter.digests import markdown
from newsletter.mail.running import running


@pytest.mark.parametrize(
    ("source", "kinds"),
    [
        ("1. a\n2. b", []),
        ("9. a\n10. b", ["digits-2"]),
        ("98. a\n99. b\n100. c", ["digits-3"]),
        ("1986. A great year.", ["digits-4"]),
        # The inner list has its own numbers, and its items are not the outer one's.
        ("1. a\n\n    10. x\n    11. y\n\n2. b", ["digits-2"]),
        (f"8. a\n\n{''.join(f'   {n}. x{chr(10)}' for n in range(1, 6))}\n9. b", []),
    ],
)
def test_a_list_has_room_for_its_numbers(source: str, kinds: list[str]) -> None:
    """It says how many digits its last number has, when there is more than one."""
    made = running(markdown.html(source, base_url=None), 500)
    assert re.findall(r'<ol class="([^"]*)"', made) == kinds


def test_where_a_list_begins_is_kept() -> None:
    """With the class, and without it."""
    assert running('<ol start="7"><li>a</li></ol>', 500) == '<ol start="7"><li>a</li></ol>'
    assert 'start="1986"' in running('<ol start="1986"><li>a</li></ol>', 500)


def test_a_table_scrolls_by_itself() -> None:
    """Only the outer one of tables within each other."""
    inner = "<table><tbody><tr><td>x</td></tr></tbody></table>"
    outer = f"<table><tbody><tr><td>{inner}</td></tr></tbody></table>"
    assert running(f"<p>a</p>{outer}<p>b</p>{inner}", 500) == (
        f'<p>a</p><div class="scroll">{outer}</div><p>b</p><div class="scroll">{inner}</div>'
    )


def test_quotes_and_code_stand_in_cells() -> None:
    """Outlook on Windows knows padding nowhere else; each quote within another has its own."""
    made = running("<blockquote dir='rtl'><p>a</p><blockquote>b</blockquote></blockquote>", 500)
    opening = (
        '<table role="presentation" class="lines" width="100%" cellpadding="0" cellspacing="0" '
        'border="0"><tr><td class="bar">'
    )
    ending = "</td></tr></table></blockquote>"
    assert made == (
        f"<blockquote dir='rtl'>{opening}<p>a</p><blockquote>{opening}b{ending}{ending}"
    )
    assert '<td class="code"><pre>x</pre></td>' in running("<pre>x</pre>", 500)
    assert "scroll" not in running("<pre>x</pre>", 500)


def test_attributes_are_no_tags() -> None:
    """A picture's words may have a tag in them."""
    picture = '<p><img src="https://a.example/x.png" alt="<table><ol>"></p>'
    assert running(picture, 500) == picture
