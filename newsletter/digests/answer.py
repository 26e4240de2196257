"""The sign that mail programs put before the subject of an answer or of a forwarded mail.

Where no mail was answered it is a trick, for which mailbox providers block mail. A single letter,
as some Italian programs write it, is none here: "I: Robot" is a title.
"""

from __future__ import annotations

import re

# English, German, Dutch, French, Spanish, Portuguese, Italian, Scandinavian, Finnish, Polish,
# Turkish.
_SIGNS = "re|fwd?|aw|wg|antw|doorst|rép|tr|rv|enc|res|rif|sv|vs|vb|odp|pd|vl|ynt|ilt"
_OTHER_SIGNS = "回复|回覆|答复|答覆|转发|轉寄|返信|転送|회신|답장|전달"
_COUNT = r"\s*(?:\[\d+\]|\(\d+\)|\^\d+)?\s*"
_COLON = "[:：﹕∶꞉]"
_UNSEEN = r"[\s\u200b-\u200f\u2060\ufeff]*"
# "Re:volution" is a word; "RE:volution" or "Re:Sale" is not.
_ANSWER = re.compile(
    rf"\A{_UNSEEN}(?:(?:"
    rf"(?:{_SIGNS}){_COUNT}{_COLON}(?-i:(?![a-zß-ÿ]))"
    rf"|(?-i:{_SIGNS.replace('?', '').upper()}|FW){_COUNT}{_COLON}"
    rf"|(?:{_OTHER_SIGNS}){_COUNT}{_COLON}"
    rf"){_UNSEEN})+",
    re.IGNORECASE,
)


def is_sign(subject: str) -> bool:
    """Whether `subject` looks like that of an answer or of a forwarded mail."""
    return _ANSWER.match(subject) is not None


def without_sign(subject: str) -> str:
    """`subject` without such signs; "" when it has nothing else."""
    return _ANSWER.sub("", subject)
