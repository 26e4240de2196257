"""The steps of the demo's walk, in their order. Each does its part and checks that it held."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import func, select

from newsletter import addresses, consent, fetch, store
from newsletter.cli import installation, output
from newsletter.cli.demo.proof import Proof
from newsletter.cli.demo.stage import Stage
from newsletter.cli.demo.visitor import (
    VISITORS,
    Visitor,
    leave_with_one_click,
    link,
    press,
    sign_up,
    subject,
)
from newsletter.cli.progress import progress
from newsletter.consent import checkpoint
from newsletter.digests import approve, articles, compose, preview
from newsletter.errors import NewsletterError
from newsletter.sending import queue, status
from newsletter.store import DeliveryState, DigestState, Subscription, SubscriptionState
from newsletter.subscriptions import publications
from newsletter.worker import Sender, smtp_pool

_SLUG = "hedgerow"
_TITLE = "The Hedgerow Letter"
_SUBJECT = "Swifts, a loaf that waits, and the last tram"
_INTRO = (
    "Dear readers, the windows are open again. This time: **lodgers** that come late, bread that "
    "needs no one, and a wall without glue."
)
# In the order in which they stand in the digest.
_ORDER = ("swifts", "bread", "tram", "wall", "mending")
_READERS = tuple(visitor for visitor in VISITORS if visitor.answer == "confirm")
_PATIENCE = 60.0  # seconds that a mail may take from one thread to another, on a busy machine

# A step's name, and what it does: it returns a line of words and the address where it can be seen.
Step = Callable[[], tuple[str, str]]


class NotHeld(NewsletterError):
    """A step of the walk did not do what it should."""


class Walk:
    """One walk over one stage. say: takes the lines of the consent log. stop: ends waiting.

    check_worker: raises what ended the worker, if anything did.
    """

    def __init__(
        self,
        stage: Stage,
        check_worker: Callable[[], None],
        stop: threading.Event,
        say: Callable[[str], None],
    ) -> None:
        self.stage = stage
        self.check_worker = check_worker
        self.stop = stop
        self.say = say
        self.home = f"{stage.base_url}/{_SLUG}/"
        self.digest_id = 0
        self.preferences_url = self.home

    def steps(self) -> Iterator[tuple[str, Step]]:
        """The steps with their names, which are stable: --json prints them."""
        yield "installation", self.install
        yield "publication", self.publish
        yield "articles", self.collect
        yield "signup", self.sign_up
        yield "confirmation", self.receive
        yield "confirm", self.confirm
        yield "compose", self.compose
        yield "preview", self.preview
        yield "approve", self.approve
        yield "send", self.send
        yield "arrival", self.arrive
        yield "leave", self.leave
        yield "consent-log", self.log
        yield "verify", self.verify
        leaver = _READERS[0]
        key = addresses.parse(leaver.address).key
        proof = Proof(self.stage, key, lambda: self._digest_of(leaver), self.say)
        yield from proof.steps()

    def install(self) -> tuple[str, str]:
        """The web app answers, and so does its database."""
        url = f"{self.stage.base_url}/healthz"
        fetch.get(url, allow_private=True)
        return f"An installation in {self.stage.folder} is up", url

    def publish(self) -> tuple[str, str]:
        """A publication, whose form is then on the web."""
        with store.transaction(self.stage.engine) as session:
            publications.create(
                session,
                slug=_SLUG,
                title=_TITLE,
                from_=f"{_TITLE} <letter@hedgerow.example>",
                privacy_url=f"{self.stage.site.url}/privacy",
                postal_address="3 Orchard Lane\nLittleton",
                description="Small things that hold: nature, crafts and cities, every other week.",
                unsubscribe_mailto="leave@hedgerow.example",
                theme="magazine",
                now=installation.now(),
            )
        page = fetch.get(self.home, allow_private=True)
        _hold(_TITLE in page.body.decode(), "The sign-up page does not name the publication.")
        return f"The publication “{_TITLE}” is made", self.home

    def collect(self) -> tuple[str, str]:
        """Articles come in as Markdown from the publication's website."""
        read = [
            articles.read(fetch.get(url, allow_private=True).body.decode(), origin=url)
            for url in self.stage.site.sources()
        ]
        with store.transaction(self.stage.engine) as session:
            saved = [articles.save(session, each, now=installation.now()) for each in read]
        _hold(all(what == "new" for _article, what in saved), "An article was there already.")
        for each in read:
            if each.image:
                fetch.get(each.image, allow_private=True)
        return f"{len(saved)} articles came in, with their pictures", f"{self.stage.site.url}/"

    def sign_up(self) -> tuple[str, str]:
        """Visitors fill in the form; what they see does not tell whether they are known."""
        answers = {sign_up(self.home, visitor).body for visitor in VISITORS}
        _hold(len(answers) == 1, "The page after signing up differs between visitors.")
        return f"{len(VISITORS)} visitors signed up through the form", self.home

    def receive(self) -> tuple[str, str]:
        """Everybody's confirmation mail arrives."""
        self._until(
            lambda: all(self._confirm_link(visitor) for visitor in VISITORS),
            "Not every visitor got a confirmation mail.",
        )
        return f"{len(VISITORS)} confirmation mails arrived", f"{self.stage.mailbox_url}/"

    def confirm(self) -> tuple[str, str]:
        """Most follow the link and press the button; one says "this was not me"."""
        buttons = {"confirm": 0, "deny": 1}
        for visitor in VISITORS:
            if visitor.answer in buttons:
                self._follow(visitor, buttons[visitor.answer])
        count = self._count(SubscriptionState.CONFIRMED)
        _hold(count == len(_READERS), f"{count} are confirmed instead of {len(_READERS)}.")
        words = f"{count} followed the link and confirmed; one said “this was not me”"
        # Not the page of the one who will leave: that one will say so.
        return words, self._confirm_link(_READERS[-1])

    def compose(self) -> tuple[str, str]:
        """A digest of all articles."""
        with store.transaction(self.stage.engine) as session:
            known = {each.url: each.id for each in articles.all_of(session)}
            ids = [known.get(f"{self.stage.site.url}/{name}") or known[None] for name in _ORDER]
            publication = publications.find(session, _SLUG)
            digest = compose.new(
                session,
                publication,
                subject=_SUBJECT,
                intro=_INTRO,
                article_ids=ids,
                now=installation.now(),
            )
            self.digest_id = digest.id
        return (
            f"Digest {self.digest_id} is composed of {len(ids)} articles",
            f"{self.stage.site.url}/",
        )

    def preview(self) -> tuple[str, str]:
        """The digest as a reader will see it."""
        with store.reading(self.stage.engine) as session:
            letter = preview.letter(session, self._digest(session), base_url=self.stage.base_url)
        self.stage.site.preview = letter.html
        url = f"{self.stage.site.url}/preview"
        page = fetch.get(url, allow_private=True).body.decode()
        _hold(_SUBJECT in page and preview.NAME in page, "The preview lacks subject or reader.")
        return "The digest is previewed", url

    def approve(self) -> tuple[str, str]:
        """The operator approves it: what it says is frozen, with the log's signed checkpoint."""
        now, base_url = installation.now(), self.stage.base_url
        with store.transaction(self.stage.engine) as session:
            keyring = consent.Keyring.of(self.stage.settings)
            note = checkpoint.sign(session, keyring, now=now)
        with store.transaction(self.stage.engine) as session:
            digest = self._digest(session)
            approve.approve(session, digest, base_url=base_url, now=now, checkpoint=note)
        return "The digest is approved", f"{self.stage.site.url}/preview"

    def send(self) -> tuple[str, str]:
        """The digest goes out, with a progress bar."""
        stage = self.stage
        with store.transaction(stage.engine) as session:
            queue.begin(session, self._digest(session), now=installation.now())
        with progress("sending") as report:

            def tell(found: dict[str, Any]) -> None:
                report(found["counts"][DeliveryState.ACCEPTED], len(_READERS))

            sender = Sender(stage.engine, stage.settings, smtp_pool(stage.settings))
            sender.run(self.stop, until_idle=True, digest_id=self.digest_id, progress=tell)
        with store.reading(stage.engine) as session:
            found = status.of_digest(session, self.digest_id)
        accepted = found["counts"][DeliveryState.ACCEPTED]
        _hold(
            found["state"] == DigestState.SENT and accepted == found["total"] == len(_READERS),
            f"The digest is {found['state']}, {accepted} of {found['total']} mails are out.",
        )
        return f"The digest is sent to {accepted} readers", f"{stage.mailbox_url}/"

    def arrive(self) -> tuple[str, str]:
        """Each confirmed reader has it once; nobody else has it."""
        arrived = Counter(
            recipient.lower()
            for mail in list(self.stage.sink.received)
            if subject(mail.raw) == _SUBJECT
            for recipient in mail.recipients
        )
        expected = Counter(visitor.address.lower() for visitor in _READERS)
        _hold(arrived == expected, "Somebody got the digest twice, not at all, or unasked.")
        with store.reading(self.stage.engine) as session:
            url = f"{self.home}archive/{self._digest(session).public_id}"
        page = fetch.get(url, allow_private=True).body.decode()
        _hold(_SUBJECT in page, "The digest is not in the archive.")
        return f"It arrived: {len(expected)} readers have it once, nobody else has it", url

    def leave(self) -> tuple[str, str]:
        """A reader leaves as mail programs do it: one POST of what the headers say."""
        raw = self._digest_of(_READERS[0])
        self.preferences_url = link(raw, f"{self.stage.base_url}/preferences/") or self.home
        leave_with_one_click(raw)
        count = self._count(SubscriptionState.CONFIRMED)
        _hold(count == len(_READERS) - 1, f"{count} are confirmed after one left.")
        url = link(raw, f"{self.stage.base_url}/unsubscribe/")
        return "One reader left with one click", url or self.home

    def log(self) -> tuple[str, str]:
        """What everybody declared and withdrew."""
        kinds: Counter[str] = Counter()
        with store.reading(self.stage.engine) as session:
            for entry in consent.entries(session):
                fields = entry.fields
                kinds[fields["type"]] += 1
                self.say(
                    f"     {entry.position:>3}  {fields['time'][:19]}Z  {fields['type']:<10} "
                    f"{fields['channel']:<10} {output.clean(fields['address'])}"
                )
        wanted = {"requested": len(VISITORS), "confirmed": len(_READERS), "withdrawn": 1}
        for kind, count in wanted.items():
            _hold(kinds[kind] >= count, f"The log has {kinds[kind]} of “{kind}”, not {count}.")
        return f"The consent log has {kinds.total()} events", self.preferences_url

    def verify(self) -> tuple[str, str]:
        """The log proves that it is whole, and that the states follow from it."""
        with store.reading(self.stage.engine) as session:
            report = consent.verify(session)
        _hold(report.events > 0, "The log is empty.")
        return f"The log verifies: {report.events} events, none missing", self.preferences_url

    def _digest(self, session: Any) -> store.Digest:
        digest: store.Digest = session.get_one(store.Digest, self.digest_id)
        return digest

    def _digest_of(self, visitor: Visitor) -> bytes:
        for mail in list(self.stage.sink.received):
            if visitor.address in mail.recipients and subject(mail.raw) == _SUBJECT:
                return mail.raw
        raise NotHeld("A reader does not find the digest.")

    def _confirm_link(self, visitor: Visitor) -> str:
        for mail in list(self.stage.sink.received):
            if visitor.address in mail.recipients:
                found = link(mail.raw, f"{self.stage.base_url}/confirm/")
                if found:
                    return found
        return ""

    def _follow(self, visitor: Visitor, button: int) -> None:
        found = self._confirm_link(visitor)
        _hold(bool(found), "A visitor does not find the link in the confirmation mail.")
        press(found, button)

    def _count(self, state: SubscriptionState) -> int:
        query = select(func.count()).select_from(Subscription).where(Subscription.state == state)
        with store.reading(self.stage.engine) as session:
            return session.scalar(query) or 0

    def _until(self, is_so: Callable[[], bool], otherwise: str) -> None:
        give_up = time.monotonic() + _PATIENCE
        while not is_so():
            self.check_worker()
            _hold(time.monotonic() < give_up and not self.stop.wait(0.1), otherwise)


def _hold(condition: bool, otherwise: str) -> None:
    if not condition:
        raise NotHeld(otherwise)
