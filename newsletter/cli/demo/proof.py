"""The demo's last steps: what a stranger can check without believing us a word.

A reader's receipt is checked by the one-file verifier, and the digest in a reader's mailbox against
the log as it is published.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from newsletter import fetch, store
from newsletter.cli import installation
from newsletter.cli.demo.stage import Stage
from newsletter.consent import Keyring, checkpoint, receipt, witness
from newsletter.consent.receipt import verify_receipt
from newsletter.errors import NewsletterError
from newsletter.links import Links
from newsletter.store.find import subscriber_by_key

FILE = "receipt.json"


class NotProven(NewsletterError):
    """Something that should be provable was not."""


class Proof:
    """The steps after a walk. reader: the address key of the one whose receipt is made.

    mail: gives the digest as it lies in a mailbox. say: takes lines for people.
    """

    def __init__(
        self, stage: Stage, reader: str, mail: Callable[[], bytes], say: Callable[[str], None]
    ) -> None:
        self.stage = stage
        self.reader = reader
        self.mail = mail
        self.say = say
        self.published = f"{stage.base_url}/.well-known/consent-log"
        self.vkey = ""

    def steps(self) -> Iterator[tuple[str, Callable[[], tuple[str, str]]]]:
        """The steps with their names, which are stable: --json prints them."""
        yield "key", self.key
        yield "checkpoint", self.checkpoint
        yield "receipt", self.receipt
        yield "witness", self.witness

    def key(self) -> tuple[str, str]:
        """The public key of the log is told to everybody."""
        url = f"{self.published}/key"
        self.vkey = fetch.get(url, allow_private=True).body.decode().strip()
        if self.vkey != Keyring.of(self.stage.settings).signer.verifier.vkey:
            raise NotProven("The key that is published is not the one that signs.")
        self.say(f"     {self.vkey}")
        return "The log's public key is told to everybody", url

    def checkpoint(self) -> tuple[str, str]:
        """The log is signed as it is now: its size and its root."""
        keyring = Keyring.of(self.stage.settings)
        with store.transaction(self.stage.engine) as session:
            note = checkpoint.sign(session, keyring, now=installation.now())
        url = f"{self.published}/checkpoint"
        if note is None or fetch.get(url, allow_private=True).body.decode() != note:
            raise NotProven("The checkpoint that is published is not the one that was signed.")
        for line in note.splitlines():
            self.say(f"     {line}")
        return "The log is signed: its size, its root, and who signed", url

    def receipt(self) -> tuple[str, str]:
        """The reader who left has proof of all that happened; the one-file verifier takes it."""
        stage, now = self.stage, installation.now()
        with store.transaction(stage.engine) as session:
            reader = subscriber_by_key(session, self.reader)
            if reader is None:
                raise NotProven("A reader is not there any more.")
            keyring = Keyring.of(stage.settings)
            made = receipt.written(receipt.build(session, keyring, reader, None, now=now))
        (stage.folder / FILE).write_bytes(made)
        try:
            proven = verify_receipt.verify(made, [self.vkey])
        except verify_receipt.Invalid as error:
            raise NotProven(f"The receipt does not verify: {error}") from error
        count = len(proven["newsletter"]["events"])
        links = Links(stage.base_url, tuple(stage.settings.all_secret_keys))
        own_page = links.url("access", reader.public_id, at=now)
        return f"A reader's receipt verifies: {count} events, from a file alone", own_page

    def witness(self) -> tuple[str, str]:
        """The digest that a reader got proves that the log of then is the beginning of today's."""
        found = witness.check(witness.note_in(self.mail()), self._get)
        words = (
            f"A mailbox bears witness: the {found.then.size} events from before the digest are "
            f"unchanged among today's {found.today.size}"
        )
        return words, f"{self.stage.mailbox_url}/"

    def _get(self, path: str) -> bytes:
        return fetch.get(f"{self.published}/{path}", allow_private=True).body
