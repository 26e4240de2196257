"""Summaries end where a sentence does, in any script, and never inside a sign."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.digests import summary


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("One. Two! Three?", 9, "One. Two!"),
        ("One.\n\n  Two.", 80, "One. Two."),
        ("A sentence without an end that goes on", 20, "A sentence without…"),
        ("Words, words, and more words without end", 15, "Words, words…"),
        ("Swallows returning home", 15, "Swallows…"),
        ("Dr. Smith met J. R. R. Tolkien at 3.15 p.m. here. They talked a while.", 60,
         "Dr. Smith met J. R. R. Tolkien at 3.15 p.m. here."),
        ("Am 3. März kommen z. B. Segler. Danach ist es still und leer.", 40,
         "Am 3. März kommen z. B. Segler."),
        ("M. Dupont est là. « Bonjour. » Il repart aussitôt.", 35,
         "M. Dupont est là. « Bonjour. »"),
        ("¿Vuelven? ¡Sí! Ya están aquí las golondrinas de siempre.", 30, "¿Vuelven? ¡Sí!"),
        ('He said "Stop." Then he left the house for good.', 20, 'He said "Stop."'),
        ("Wait... what? Nothing happened at all today.", 16, "Wait... what?"),
        ("See example.org/a.html now. Then go away from it.", 30, "See example.org/a.html now."),
        ("燕子回来了。它们在屋檐下筑巢。每年都回到同一个地方。", 34,
         "燕子回来了。它们在屋檐下筑巢。"),
        ("「帰ってきた。」と言った。空を見上げて、何羽いるか数えています。", 40,
         "「帰ってきた。」と言った。"),
        ("제비가 돌아왔다. 처마 밑에 둥지를 튼다. 해마다 같은 곳이다.", 50,
         "제비가 돌아왔다. 처마 밑에 둥지를 튼다."),
        ("عادت الطيور؟ نعم. بنت أعشاشها تحت السقف مرة أخرى هذا العام", 20, "عادت الطيور؟ نعم."),
        ("पक्षी लौट आए। वे छत के नीचे घोंसला बनाते हैं।", 20, "पक्षी लौट आए।"),
        ("燕子回来了它们在屋檐下筑巢每年都回到同一个地方孩子们很高兴", 20, "燕子回来了它们在屋…"),
        ("Hi. " + "word " * 50, 80, "Hi. word word word word word word word word word word word "
         "word word word word…"),
        ("x" * 99, 10, "xxxxxxxxx…"),
        ("", 10, ""),
    ],
)  # fmt: skip
def test_the_first_sentences(text: str, limit: int, expected: str) -> None:
    """Whole sentences while they fit; else words, and a sign that there is more."""
    assert summary.cut(text, limit=limit) == expected


@pytest.mark.parametrize("sign", ["👨‍👩‍👧‍👦", "👍🏽", "🇩🇪", "é", "ก็", "❤️"])
def test_no_sign_is_cut_in_two(sign: str) -> None:
    """Families, flags, skin tones and accents are one sign to a reader, and stay one."""
    decomposed = unicodedata.normalize("NFD", sign)
    for limit in range(8, 40):
        cut = summary.cut(decomposed * 30, limit=limit)
        assert cut.removesuffix("…").replace(decomposed, "") == ""


@given(st.text(max_size=300), st.integers(min_value=10, max_value=80))
def test_a_summary_is_a_beginning(text: str, limit: int) -> None:
    """Whatever the text: one line, not too long, and words of the text's own beginning."""
    line = " ".join(text.split())
    for short in (summary.cut(text, limit=limit), summary.excerpt(text, limit=limit)):
        assert len(short) <= limit
        assert "\n" not in short
    cut = summary.cut(text, limit=limit)
    assert line.startswith(cut) or line.startswith(cut.removesuffix("…"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Swifts are back. They nest under […]", "Swifts are back."),
        ("Swifts are back, and they nest under [...]", "Swifts are back, and they nest under…"),
        ("Swifts are back, and they nest under ...", "Swifts are back, and they nest under…"),
        ("Swifts are back. Continue reading Swifts →", "Swifts are back."),
        ("Die Segler sind da. Weiterlesen »", "Die Segler sind da."),
        ("Swifts are back. The post Swifts appeared first on Field Notes.", "Swifts are back."),
        ("Swifts are back. They", "Swifts are back. They"),
        ("[…]", ""),
        ("", ""),
    ],
)
def test_what_a_site_offers_as_summary(text: str, expected: str) -> None:
    """Without its own marks of cutting, and back to a whole sentence where it cut in one."""
    assert summary.excerpt(text) == expected
