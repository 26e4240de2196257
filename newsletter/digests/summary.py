"""The first sentences of a text, for an article that has no summary of its own.

Works on plain words, so that no tag is ever cut. A text is cut after a sentence if one fits: in
scripts that part words with blanks and in those that do not. Where none fits, it is cut between
words, or for scripts without blanks between characters that a reader sees as such.
"""

from __future__ import annotations

import re
import unicodedata

LENGTH = 280  # characters, in which two or three sentences fit

_QUOTES = "\"'”’»›)\\]」』）】〉》"
# These end a sentence with no blank behind them; the second kind needs one, since a full stop also
# stands in numbers, addresses and abbreviations.
_END = re.compile(
    rf"[。！？｡।॥։።]+[{_QUOTES}]*\s*|[.!?…؟۔။៕]+(?:[{_QUOTES}]|\s[»›])*(?:\s+|\Z)",
)
# Words whose full stop ends no sentence, in the languages that we speak; lower case.
_ABBREVIATIONS = frozenset(
    """
    mr mrs ms dr prof st vs etc e.g i.e no fig jr sr inc ltd co approx vol ed eds rev gen col sgt
    nr str bzw ca usw z.b d.h u.a vgl s bd hrsg abs art evtl ggf inkl zzgl u z d o b i
    m mm mme mlle cf env p ex av apr sra srta dña ud uds pág p.ej núm ee uu jan feb aug sept okt
    oct nov dez dec
    """.split()  # noqa: SIM905 - read by people
)
_LAST_WORD = re.compile(r"([\w.]+)\.$")
_ORDINAL = re.compile(r"\b\d{1,2}\.$")  # "am 3. März"
# What a site puts behind a text that it cut itself.
_CUT_MARK = re.compile(r"\s*(?:\[\s*(?:…|\.{3})\s*\]|\(\s*(?:…|\.{3})\s*\)|…|\.{3})\s*\Z")
_ADVERTISED = re.compile(r"\s*The post .{1,300}? (?:first appeared|appeared first) on .{1,200}\Z")
_READ_ON = re.compile(
    r"\s*(?:continue reading|read more|weiterlesen|lire la suite|seguir leyendo|leer más)"
    r"[^.!?]{0,100}\Z",
    re.IGNORECASE,
)
_LOOSE_ENDS = " ,;:–—-/([„“«、，；："


def cut(text: str, *, limit: int = LENGTH) -> str:
    """The first sentences of `text` in at most `limit` characters, as one line.

    text: plain words, in lines or in one. A text that fits comes back whole. When not even the
    first sentence fits, or it is too short to say something, words and "…". Chinese, Japanese and
    Korean say as much in half as many characters, and get half as many.
    """
    line = " ".join(text[: 8 * limit].split())
    limit = _room(line, limit)
    return line if len(line) <= limit else _shorten(line, limit)


def _shorten(line: str, limit: int) -> str:
    end = _end_of_sentences(line, limit)
    # "Hi." alone is no summary.
    return line[:end].rstrip() if end > limit // 8 else _between_words(line, limit)


def excerpt(text: str, *, limit: int = LENGTH) -> str:
    """What a site offers as summary, in at most `limit` characters.

    Without its "[…]", its "Read more" and its own advertisement; where the site cut in the middle
    of a sentence, back to the last whole one, or with a "…".
    """
    line = " ".join(text[: 8 * limit].split())
    limit = _room(line, limit)
    whole = _READ_ON.sub("", _ADVERTISED.sub("", line))
    short = _CUT_MARK.sub("", whole)
    if len(short) > limit:
        return _shorten(short, limit)
    if short == whole:
        return whole
    end = _end_of_sentences(f"{short} ", limit)
    if 3 * end > len(short):
        return short[:end].rstrip()
    return f"{short.rstrip(_LOOSE_ENDS)}…" if short else ""


def _room(line: str, limit: int) -> int:
    begin = line[:limit]
    return limit // 2 if sum(map(_is_wide, begin)) > len(begin) // 2 else limit


def _end_of_sentences(line: str, limit: int) -> int:
    """Where the last sentence ends that fits into `limit` characters; 0 when none does."""
    end = 0
    for found in _END.finditer(line):
        length = len(line[: found.end()].rstrip())
        if length > limit:
            break
        if _ends_sentence(line, found):
            end = length
    return end


def _ends_sentence(line: str, found: re.Match[str]) -> bool:
    mark = found[0].rstrip()
    following = line[found.end() : found.end() + 1]
    if mark[0] in ".…" and following.islower():
        return False
    if mark != ".":
        return True
    before = line[: found.start() + 1][-40:]
    if _ORDINAL.search(before):
        return False
    word = _LAST_WORD.search(before)
    if word is None:
        return True
    # An initial: "J. R. R. Tolkien".
    is_initial = len(word[1].rpartition(".")[2]) == 1 and word[1][-1].isupper()
    return not is_initial and word[1].lower() not in _ABBREVIATIONS


def _between_words(line: str, limit: int) -> str:
    end = limit - 1  # one for the sign that there is more
    if not _is_wide(line[end]) and not line[end].isspace():
        blank = line.rfind(" ", 0, end)
        # Words of a script without blanks may stand before the one that is cut.
        wide = next((i + 1 for i in range(end - 1, 0, -1) if _is_wide(line[i])), 0)
        end = max(blank, wide) if max(blank, wide) > 0 else end
    while end > 0 and _belongs_to_the_one_before(line, end):
        end -= 1
    return f"{line[:end].rstrip(_LOOSE_ENDS)}…"


def _is_wide(character: str) -> bool:
    """Whether a line may be broken beside it: Chinese, Japanese and Korean signs, and emoji."""
    return unicodedata.east_asian_width(character) in ("W", "F")


def _belongs_to_the_one_before(line: str, place: int) -> bool:
    """Whether a reader sees the character at `place` as part of the one before it (UAX #29)."""
    here, before = line[place], line[place - 1]
    if unicodedata.category(here).startswith("M") or "\u200d" in (here, before):
        return True
    if "\U0001f3fb" <= here <= "\U0001f3ff":  # a skin tone
        return True
    if "\U0001f1e6" <= here <= "\U0001f1ff":  # half of a flag, when an odd number stands before
        start = place
        while start > 0 and "\U0001f1e6" <= line[start - 1] <= "\U0001f1ff":
            start -= 1
        return (place - start) % 2 == 1
    return False
