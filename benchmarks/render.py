"""What a digest of thirty articles costs: before it is sent, and for each of its readers.

    python benchmarks/render.py

Prints, for each theme, the milliseconds that composing, checking and approving (which freezes it)
take, each in a transaction of its own as a command makes it; then the microseconds of one
reader's mail. A mail is written in three ways, by turns: by filling in the skeleton, as digests
are sent; by building the same bytes anew (the ratio is what the skeleton saves); and by running
the templates, as it is for a digest whose templates look at the reader. Medians of all rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import thirty
from consent_log import NOW, Log
from sqlalchemy import update
from sqlalchemy.orm import Session

from newsletter import store
from newsletter.consent import checkpoint
from newsletter.digests import approve, articles, check, compose, feeds, preview
from newsletter.fetch import Fetched
from newsletter.links import Links
from newsletter.mail.fields import Headers, date_value
from newsletter.mail.frozen import FrozenLetter, greeting
from newsletter.mail.message import build
from newsletter.mail.skeleton import Skeleton
from newsletter.sending import claim, queue, specimen
from newsletter.sending.origin import Origin
from newsletter.sending.write import Draft, Mail, Writer
from newsletter.subscriptions import publications

THEMES = ("plain", "magazine")
BASE = "https://news.example.org"
ORIGIN = Origin(Links(BASE, ("k" * 40,)), b"h" * 32)
# Of thirty articles so many come from a feed.
FROM_FEED = 12
# A template that looks at its reader; the rest of the letter is as it is shipped.
LOOKING = """{% extends "shipped/digest/body.txt" %}
{% block words %}{% if reader.name %}Dear {{ reader.name }}!{% endif %}{{ super() }}{% endblock %}
"""
# Mails of that kind in one round; one takes as long as thousands of the others.
LOOKED_AT = 3

Times = defaultdict[str, list[float]]


@dataclass(frozen=True)
class Sent:
    """A digest on its way: what its mails are written from."""

    frozen: Mapping[str, Any]
    writer: Writer
    drafts: Sequence[Draft]


class Desk:
    """An installation with articles and readers."""

    def __init__(self, folder: Path, count: int, readers: int) -> None:
        self.log = Log.make(folder / "news")
        self.engine = self.log.engine
        self.log.grow(2 * readers)
        self.readers = readers
        self.own_templates = folder / "templates"
        (self.own_templates / "digest").mkdir(parents=True)
        (self.own_templates / "digest" / "body.txt").write_text(LOOKING, encoding="utf-8")
        from_feed = count * FROM_FEED // 30
        with store.transaction(self.engine) as session:
            session.execute(update(store.Subscriber).values(name="Ada Lovelace"))
            rows = [self._file(session, number) for number in range(count - from_feed)]
            rows += self._feed(session, range(count, count + from_feed))
            self.numbers = [row.id for row in rows]

    def compose(self) -> int:
        """A draft of all articles: a lead, four sections, two whole texts; its number."""
        lead, *rest = self.numbers
        sections = [(f"Section {place}", rest[place::5]) for place in range(1, 5)]
        wanted = compose.Arrangement(lead=lead, sections=sections, full={lead, rest[-1]})
        with store.transaction(self.engine) as session:
            digest = compose.new(
                session,
                publications.find(session, "field-notes"),
                article_ids=self.numbers,
                intro="Dear readers, **thirty** things that [we](https://example.org/us) saw.",
                outro="Until next time!\n\nThe people of the *Field Notes*",
                length="teaser",
                arrangement=wanted,
                now=NOW,
            )
            return digest.id

    def check(self, digest_id: int, times: Times) -> check.Built:
        """As `newsletter digest check` does. An error would be one of this script."""
        with timed(times, "check_ms"), store.reading(self.engine) as session:
            digest = session.get_one(store.Digest, digest_id)
            note = checkpoint.newest(session)
            frozen = preview.frozen(session, digest, base_url=BASE, checkpoint=note)
            raw = specimen.mail(digest, frozen, ORIGIN, at=NOW)
            facts = check.Facts.of(digest, BASE)
            with timed(times, "check_rules_alone_ms"):
                built = check.read(raw)
                findings = check.check(built, facts)
        errors = [each for each in findings if each.rule.level == check.Level.ERROR]
        if errors:
            raise SystemExit(f"the digest has an error: {errors[0]}")
        return built

    def approve(self, digest_id: int, folder: str | None = None) -> None:
        with store.transaction(self.engine) as session:
            approve.approve(
                session,
                session.get_one(store.Digest, digest_id),
                base_url=BASE,
                now=NOW,
                checkpoint=checkpoint.newest(session),
                templates_folder=folder,
            )

    def send(self, digest_id: int) -> Sent:
        """Queue and claim an approved digest; what its mails are written from."""
        with store.transaction(self.engine) as session:
            digest = session.get_one(store.Digest, digest_id)
            queue.begin(session, digest, now=NOW)
            while queue.piece(session, digest, now=NOW):
                pass
        with store.transaction(self.engine) as session:
            claims = claim.digest(session, digest_id, "me", limit=self.readers, now=NOW)
        with store.reading(self.engine) as session:
            writer = Writer(ORIGIN)
            drafts = writer.drafts(session, claims)
            frozen = session.get_one(store.Digest, digest_id).frozen
        if frozen is None or len(drafts) != self.readers:
            raise SystemExit("not all readers have a mail")
        return Sent(frozen, writer, drafts)

    def _file(self, session: Session, number: int) -> store.Article:
        article = articles.read(thirty.markdown(number), origin=f"{number}.md")
        return articles.save(session, article, now=NOW)[0]

    def _feed(self, session: Session, numbers: range) -> list[store.Article]:
        url = f"{thirty.SITE}/feed.xml"
        publication = publications.find(session, "field-notes")
        row = feeds.add(session, publication, url, now=NOW)
        session.flush()
        body = thirty.feed(numbers)
        answer = feeds.read(Fetched(url, 200, "application/rss+xml", body), max_entries=200)
        feeds.take(session, row, answer, now=NOW, every=NOW - NOW)
        return feeds.articles_of(session, [row.id])


class OneMail:
    """The mail of each reader from the skeleton, and the same bytes by the slow path."""

    def __init__(self, sent: Sent, mail: Mail) -> None:
        self.letter = FrozenLetter(sent.frozen)
        self.headers = Headers(
            from_name="Field Notes",
            from_address="notes@example.org",
            to_address=mail.recipient,
            message_id="<1@example.org>",
            date=NOW,
            list_id="field-notes.news.example.org",
            list_title="Field Notes",
            list_unsubscribe_url=ORIGIN.links.url("unsubscribe", "1" * 22, at=NOW),
            checkpoint=self.letter.checkpoint,
            language=self.letter.language,
            series=self.letter.series,
        )
        self.skeleton = Skeleton(self.letter, self.headers)
        self.values = {
            "name": "Ada Lovelace",
            "greeting": greeting("Ada Lovelace", "en"),
            "address": mail.recipient,
            "unsubscribe_url": self.headers.list_unsubscribe_url or "",
            "preferences_url": ORIGIN.links.url("preferences", "1" * 22, at=NOW),
        }
        self.date = date_value(NOW)
        if self.fill(7) != self.build(7):
            raise SystemExit("the skeleton gives other bytes")

    def fill(self, number: int) -> bytes:
        return self.skeleton.fill(
            to_address=self.headers.to_address,
            date=self.date,
            message_id=f"<{number}@example.org>",
            unsubscribe_url=self.headers.list_unsubscribe_url or "",
            key="1",
            values=self.values,
        )

    def build(self, number: int) -> bytes:
        headers = replace(self.headers, message_id=f"<{number}@example.org>")
        return build(self.letter.fill(self.values), headers)


def main() -> None:
    """Measure each theme, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--articles", type=int, default=30, help="of the digest; 6 or more")
    parser.add_argument("--readers", type=int, default=1000, help="mails in each round")
    parser.add_argument("--rounds", type=int, default=21, help="medians are of so many")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        desk = Desk(Path(name), options.articles, options.readers)
        for theme in THEMES:
            with store.transaction(desk.engine) as session:
                publications.edit(session, "field-notes", theme=theme)
            results[theme] = measured(desk, options.rounds)
            print(f"{theme}: done", file=sys.stderr)
        desk.engine.dispose()
    if options.json:
        print(json.dumps({"articles": options.articles, "themes": results}))
        return
    for theme, result in results.items():
        print(f"\n{theme}, {options.articles} articles")
        for label, value in result.items():
            print(f"  {label.replace('_', ' '):<44} {value:>10,}")


def measured(desk: Desk, rounds: int) -> dict[str, float]:
    """All figures of the theme that the publication wears."""
    digest_id = desk.compose()
    built = desk.check(digest_id, defaultdict(list))  # templates are compiled once a process
    times: Times = defaultdict(list)
    for _ in range(rounds):
        with timed(times, "compose_ms"):
            digest_id = desk.compose()
        desk.check(digest_id, times)
        with timed(times, "approve_ms"):
            desk.approve(digest_id)
    sent = desk.send(digest_id)
    looking_id = desk.compose()
    desk.approve(looking_id, str(desk.own_templates))
    looking = desk.send(looking_id)
    if sent.frozen["logic"] or not looking.frozen["logic"]:
        raise SystemExit("the templates are not what they should be")
    mail = written(sent.writer, sent.drafts[0])
    one = OneMail(sent, mail)
    written(looking.writer, looking.drafts[0])
    for _ in range(rounds):
        each(times, "fill_us", one.fill, range(desk.readers))
        each(times, "build_us", one.build, range(min(desk.readers, 50)))
        each(times, "write_us", lambda draft: written(sent.writer, draft), sent.drafts)
        few = looking.drafts[:LOOKED_AT]
        each(times, "looking_write_us", lambda draft: written(looking.writer, draft), few)
    found = {label: round(statistics.median(some), 1) for label, some in times.items()}
    found["build_in_proportion_to_fill"] = ratio(times, "build_us", "fill_us")
    found["looking_in_proportion_to_write"] = ratio(times, "looking_write_us", "write_us")
    return found | {
        "mail_kb": round(len(mail.raw) / 1024, 1),
        "html_kb": round(len(built.html.encode()) / 1024, 1),
    }


def ratio(times: Times, above: str, below: str) -> float:
    """Round by round, since what else the machine does hits both; the median."""
    pairs = zip(times[above], times[below], strict=True)
    return round(statistics.median(one / other for one, other in pairs), 1)


def written(writer: Writer, draft: Draft) -> Mail:
    """One reader's mail, from the row to the bytes."""
    mail = writer.write(draft)
    if not isinstance(mail, Mail):
        raise SystemExit(f"no mail could be written: {mail.error}")
    return mail


def each(times: Times, label: str, do: Callable[[Any], Any], some: Sequence[Any]) -> None:
    """Note the microseconds that one of `some` took on average."""
    began = time.perf_counter()
    for one in some:
        do(one)
    times[label].append((time.perf_counter() - began) / len(some) * 1e6)


@contextmanager
def timed(times: Times, label: str) -> Iterator[None]:
    """Note the milliseconds of what is done within."""
    began = time.perf_counter()
    yield
    times[label].append((time.perf_counter() - began) * 1000)


if __name__ == "__main__":
    main()
