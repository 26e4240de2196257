"""Composing: articles, a subject and an introduction become one digest, and what it will say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, get_args

from sqlalchemy.orm import Session

from newsletter.digests import articles, body, choose, markdown, pictured, suggest, tongue
from newsletter.digests.arrange import Arrangement, Entry, Length, arrange
from newsletter.digests.content import Content, Piece
from newsletter.digests.oneline import one_line
from newsletter.errors import BadInput, WrongState
from newsletter.store import Article, Digest, DigestArticle, DigestState, Publication

__all__ = [
    "Arrangement",
    "Length",
    "content",
    "edit",
    "new",
    "suggested_subject",
    "suggested_subjects",
]

# Characters of an article that a letter can hold without being cut.
_WHOLE_MOST = 50_000
MAX_SUBJECT = 200
MAX_PREHEADER = 200


def new(
    session: Session,
    publication: Publication,
    *,
    article_ids: Sequence[int],
    subject: str | None = None,
    preheader: str | None = None,
    intro: str | None = None,
    outro: str | None = None,
    length: str = "auto",
    arrangement: Arrangement | None = None,
    now: datetime,
) -> Digest:
    """A draft of a digest with these articles in this order, and those that sections name.

    subject, preheader: None for one that is made of the articles. intro, outro: Markdown that
    stands before the articles and after them. length: one of `Length`.

    Raises BadInput with the field, NotFound for an article that does not exist.
    """
    wanted = arrangement or Arrangement()
    words = checked_words(
        subject=subject, preheader=preheader, intro=intro, outro=outro, length=length
    )
    _named_once(article_ids)
    choose.lock(session, publication)
    digest = Digest(publication=publication, created_at=now, **{**words, "subject": ""})
    _arrange(session, digest, [Entry(number) for number in article_ids], wanted)
    digest.subject = words["subject"] or suggested_subject(digest)
    session.add(digest)
    session.flush()
    return digest


def edit(
    session: Session,
    digest: Digest,
    *,
    article_ids: Sequence[int] | None = None,
    more: Sequence[int] = (),
    arrangement: Arrangement | None = None,
    **words: str | None,
) -> None:
    """Change a draft; what is not named, or None, stays as it is.

    article_ids: exactly these, in this order, with what was said of each. more: these too, behind
    the others. words: any of subject, preheader, intro, outro and length, as `new` has them; an
    empty subject or preheader is made of the articles again, an empty intro or outro goes.

    A subject that was made of the articles follows them.

    Raises WrongState for a digest that is no draft, else as `new` does.
    """
    session.flush()
    session.refresh(digest, with_for_update={"of": Digest})
    if digest.state != DigestState.DRAFT:
        raise WrongState(
            f"Digest {digest.id} is {digest.state}: only a draft can be changed. "
            "Cancel it and compose another one."
        )
    given = checked_words(**{name: text for name, text in words.items() if text is not None})
    is_suggested = digest.subject == suggested_subject(digest)
    if article_ids is not None or more or arrangement:
        choose.lock(session, digest.publication)
        entries = {row.article_id: _entry(row) for row in digest.entries}
        if article_ids is not None:
            _named_once(article_ids)
            entries = {number: entries.get(number, Entry(number)) for number in article_ids}
        for number in more:
            entries.setdefault(number, Entry(number))
        digest.entries.clear()
        session.flush()  # the rows go before others take their places
        _arrange(session, digest, entries.values(), arrangement or Arrangement())
    if given.get("subject") is None and (is_suggested or "subject" in given):
        given["subject"] = suggested_subject(digest)
    for name, value in given.items():
        setattr(digest, name, value)
    session.flush()


def suggested_subject(digest: Digest) -> str:
    """The subject that `digest` has when nobody gave it one."""
    publication = digest.publication
    titles = [entry.article.title for entry in digest.entries]
    return suggest.subject(titles, language=publication.language) or publication.title


def suggested_subjects(digest: Digest, now: datetime) -> list[str]:
    """Some subjects to choose from, the best first."""
    publication = digest.publication
    return suggest.subjects(
        [entry.article.title for entry in digest.entries],
        publication=publication.title,
        on=now.date(),
        language=publication.language,
    )


def content(_session: Session, digest: Digest) -> Content:
    """What `digest` says: as it was approved, or for a draft as its articles are now."""
    if digest.frozen is not None:
        return Content.from_json(digest.frozen["content"])
    is_single = len(digest.entries) == 1
    return Content(
        subject=digest.subject,
        preheader=digest.preheader or _suggested_preheader(digest),
        intro_html=markdown.html(digest.intro or "", base_url=None),
        intro_text=markdown.text(digest.intro or "", base_url=None),
        outro_html=markdown.html(digest.outro or "", base_url=None),
        outro_text=markdown.text(digest.outro or "", base_url=None),
        pieces=tuple(
            _piece(
                entry,
                full=_is_full(entry, digest.length, single=is_single),
                around=digest.publication.language,
            )
            for entry in digest.entries
        ),
        language=digest.publication.language,
    )


def checked_words(**given: str | None) -> dict[str, Any]:
    """The texts as they are kept, those that were given; None for what is to be suggested."""
    words: dict[str, Any] = dict(given)
    for name, most in (("subject", MAX_SUBJECT), ("preheader", MAX_PREHEADER)):
        if name in words:
            words[name] = one_line(words[name] or "", name=f"The {name}", field=name, most=most)
    for name in ("intro", "outro"):
        if name in words:
            words[name] = (words[name] or "").strip() or None
            _check_markdown(words[name] or "", name)
    if "length" in words and words["length"] not in get_args(Length):
        raise BadInput(f"The length is one of {', '.join(get_args(Length))}.", "length")
    return words


def _check_markdown(source: str, name: str) -> None:
    try:
        markdown.html(source, base_url=None)
    except BadInput as error:
        raise BadInput(f"The {name}: {error}", name) from error


def _named_once(numbers: Sequence[int]) -> None:
    if len(set(numbers)) != len(numbers):
        raise BadInput("An article is named twice.", "articles")


def _entry(row: DigestArticle) -> Entry:
    length: Any = row.length
    return Entry(row.article_id, row.section, length, row.is_lead)


def _arrange(
    session: Session, digest: Digest, entries: Iterable[Entry], wanted: Arrangement
) -> None:
    """Give an empty `digest` its articles."""
    entries = list(entries)
    numbers = dict.fromkeys([*(entry.article_id for entry in entries), *wanted.named])
    rows: Mapping[int, Article] = {number: articles.find(session, number) for number in numbers}
    with_picture = {number for number, row in rows.items() if row.image}
    for place, entry in enumerate(arrange(entries, wanted, pictured=with_picture)):
        digest.entries.append(
            DigestArticle(
                place=place,
                article=rows[entry.article_id],
                section=entry.section,
                length=entry.length,
                is_lead=entry.is_lead,
            )
        )


def _is_full(entry: DigestArticle, length: str, *, single: bool) -> bool:
    length = entry.length or length
    if length == "auto":
        fits = len(entry.article.body) <= _WHOLE_MOST
        return (single and fits) or entry.article.url is None
    return length == "full"


def _suggested_preheader(digest: Digest) -> str:
    chosen = [entry.article for entry in digest.entries]
    return suggest.preheader(
        digest.subject,
        [article.title for article in chosen],
        intro=markdown.opening(digest.intro or "", limit=suggest.PREHEADER),
        opening=body.opening(chosen[0], limit=suggest.PREHEADER) if chosen else "",
    )


def _piece(entry: DigestArticle, *, full: bool, around: str) -> Piece:
    article = entry.article
    summary = body.summary(article)
    whole = body.whole(article) if full else body.Written("", "")
    said = f"{article.title} {summary.text}"
    language = tongue.told(article.language, said)
    # A text that has the picture in it does not need it once more above.
    shown = pictured.completed(whole, article)
    whole = shown or whole
    return Piece(
        title=article.title,
        url=article.url,
        author=article.author,
        published=article.published.date().isoformat() if article.published else None,
        summary_html=summary.html,
        summary_text=summary.text,
        body_html=whole.html,
        body_text=whole.text,
        image=None if shown else article.image,
        image_in_body=article.image if shown else None,
        image_alt=article.image_alt or "",
        image_credit=article.image_credit,
        image_width=article.image_width,
        image_height=article.image_height,
        tags=tuple(article.tags),
        full=full,
        section=entry.section,
        is_lead=entry.is_lead,
        language=language,
        direction=None if language else tongue.turned(said, around),
    )
