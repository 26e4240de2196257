"""Bytes to text, for documents that are often not in the encoding that they name."""

from __future__ import annotations

import codecs
import re

# Before <?xml there may be nothing, but there often is. A page says it in a meta.
_DECLARED = re.compile(
    rb"<(?:\?xml[^>]{0,200}?encoding|meta[^>]{0,200}?charset)\s*=\s*[\"']?\s*([A-Za-z0-9._:-]{1,40})",
    re.IGNORECASE,
)
_OF_HEADER = re.compile(r"charset\s*=\s*[\"']?\s*([A-Za-z0-9._:-]{1,40})", re.IGNORECASE)
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Encodings of text that the web has (encoding.spec.whatwg.org §4.2). Python knows others, some of
# which are no text and some of which take quadratic time.
_KNOWN = re.compile(
    r"utf-(8|16|16-le|16-be)|ascii|cp(437|850|866|874|932|949|950|125[0-8])|iso8859-\d{1,2}"
    r"|koi8-[ru]|mac-(roman|cyrillic)|gb(k|2312|18030)|big5(hkscs)?|shift_jis|euc_(jp|kr)"
    r"|iso2022_jp|tis-620"
)
# Names of the web that Python does not know.
_ALIASES = {"windows-31j": "cp932", "x-sjis": "cp932", "windows-874": "cp874"}
# What the name means on the web, where it is a smaller set of the other.
_LARGER = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "tis-620": "cp874",
}
# Up to this share of bytes that are not ASCII may be broken before a text is no UTF-8 at all.
_MENDABLE = 0.05


def decode(body: bytes, content_type: str) -> str:
    """`body` as text; what cannot be read becomes U+FFFD.

    content_type: the header, or "". A byte order mark counts most; then whatever is valid UTF-8 is
    UTF-8, since nothing else looks like it; then what the document and the header say.
    """
    for mark, encoding in _BOMS:
        if body.startswith(mark):
            return body[len(mark) :].decode(encoding, "replace")
    named = [*_DECLARED.findall(body[:1024])[:1], *_OF_HEADER.findall(content_type)[:1]]
    names = [name for each in named if (name := _known(each))]
    # Both are valid UTF-8 to look at.
    sure = _without_mark(body) or ("iso2022_jp" if "iso2022_jp" in names else None)
    if sure:
        return body.decode(sure, "replace")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return body.decode(_second_guess(body, names), "replace")


def _second_guess(body: bytes, names: list[str]) -> str:
    """The encoding of what is no valid UTF-8."""
    for name in names:
        if not name.startswith("utf-"):
            return name
    lenient = body.decode("utf-8", "replace")
    foreign = len(body.translate(None, bytes(range(0x80))))
    return "utf-8" if lenient.count("\ufffd") <= _MENDABLE * foreign else "cp1252"


def _known(name: bytes | str) -> str | None:
    text = name.decode("ascii") if isinstance(name, bytes) else name
    try:
        found = codecs.lookup(_ALIASES.get(text.lower(), text)).name
    except (LookupError, ValueError):
        return None
    return _LARGER.get(found, found) if _KNOWN.fullmatch(found) else None


def _without_mark(body: bytes) -> str | None:
    """UTF-16 shows by the zeros in its first sign, "<" or "{"."""
    if body[:2] in (b"<\0", b"{\0"):
        return "utf-16-le"
    return "utf-16-be" if body[:2] in (b"\0<", b"\0{") else None
