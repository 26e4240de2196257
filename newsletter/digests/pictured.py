"""An article's own picture where the article's text shows it already.

It is not shown once more above the text, and nothing that the article says of it is lost: its
size and its words stand in the text's picture, and its credit below it.
"""

from __future__ import annotations

import html
import re

from newsletter.digests import plaintext, rawhtml
from newsletter.digests.body import Written
from newsletter.store import Article

# What follows a picture: the end of its link, and the caption of its figure.
_CAPTION = re.compile(r"(?:</a>)?\s*<figcaption(?:[^<>\"']|\"[^\"]*\")*>(.*?)</figcaption>", re.S)
_LINK = re.compile(r"<a(?: (?:[^<>\"']|\"[^\"]*\")*)?>\Z")


def completed(written: Written, article: Article) -> Written | None:
    """`written`, which shows the picture of `article`, with what the article says of it.

    None when it does not show it.
    """
    if not article.image:
        return None
    for tag in rawhtml.TAG.finditer(written.html):
        given = rawhtml.attributes(tag[3])
        if tag[2] == "img" and not tag[1] and given.get("src") == article.image:
            before, after = written.html[: tag.start()], written.html[tag.end() :]
            picture = _told(tag[0], given, article)
            return _credited(before, picture, after, written, article.image_credit or "")
    return None


def _told(tag: str, given: dict[str, str], article: Article) -> str:
    """The picture's tag with the size and the words that it lacks."""
    wanted: dict[str, str] = {}
    if article.image_alt and not given.get("alt", "").strip():
        wanted["alt"] = article.image_alt
    if article.image_width and article.image_height and not {"width", "height"} & set(given):
        wanted |= {"width": str(article.image_width), "height": str(article.image_height)}
    if not wanted:
        return tag
    attributes = "".join(f' {key}="{html.escape(text)}"' for key, text in (given | wanted).items())
    return f"<img{attributes}>"


def _credited(before: str, picture: str, after: str, written: Written, credit: str) -> Written:
    caption = _CAPTION.match(after)
    is_said = credit in rawhtml.words(caption[1]) if caption else _begins(after, credit)
    if not credit or is_said:
        return Written(before + picture + after, written.text)
    told = html.escape(credit)
    text = f"{plaintext.wrap(credit)}\n\n{written.text}".strip()
    if caption:
        head, rest = after[: caption.end(1)], after[caption.end(1) :]
        return Written(f"{before}{picture}{head} · {told}{rest}", text)
    if after.startswith("</a>") and (link := _LINK.search(before)):
        before, picture = before[: link.start()], f"{link[0]}{picture}</a>"
        after = after.removeprefix("</a>")
    told_below = f"<figcaption>{told}</figcaption>"
    if before.endswith("<figure>"):
        return Written(before + picture + told_below + after, text)
    if before.endswith("<p>") and after.startswith("</p>"):
        figure = f"<figure>{picture}{told_below}</figure>"
        return Written(before.removesuffix("<p>") + figure + after.removeprefix("</p>"), text)
    # Among words: below it, in a line of its own.
    end = "" if after.startswith(("</", "<br>")) else "<br>"
    return Written(f"{before}{picture}<br><small>{told}</small>{end}{after}", text)


def _begins(after: str, credit: str) -> bool:
    """Whether the author wrote the credit below the picture."""
    return rawhtml.words(after[: 1000 + len(credit)]).startswith(credit)
