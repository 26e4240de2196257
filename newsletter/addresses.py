"""E-mail addresses: what is accepted, when two are the same, and which mailbox they mean.

Three forms of one address, each for its own purpose:

- `spelling`: as the person wrote it. This is where mail goes, always.
- `key`: equal for two spellings of one subscriber. Only ASCII letters are lowered: folding more
  would let one person's address collide with another's (the Unicode case mapping attack).
- `mailbox`: the mailbox that providers deliver to, with +tags and dots taken away where they are
  ignored. For limits and suppressions only, never to identify a subscriber.
"""

from __future__ import annotations

import hmac
import string
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from email_validator import EmailNotValidError, validate_email

from newsletter.errors import BadInput

_ASCII_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_DOTLESS = {"gmail.com", "googlemail.com", "proton.me", "protonmail.com", "protonmail.ch", "pm.me"}
_SAME_DOMAIN = {"googlemail.com": "gmail.com"}
MAX_LENGTH = 254  # RFC 5321 §4.5.3.1.3: a path is at most 256 octets, two of them angle brackets


@dataclass(frozen=True)
class Address:
    """A valid address. `spelling` is mailed, `key` identifies, `mailbox` limits."""

    spelling: str
    key: str
    mailbox: str

    @property
    def domain(self) -> str:
        """The domain in ASCII (A-labels), lower case."""
        return self.key.rpartition("@")[2]

    def mailbox_hash(self, hash_key: bytes) -> bytes:
        """32 bytes that name the mailbox without telling it, under the installation's hash key.

        A plain hash would be found by trying a list of addresses; a keyed one is not.
        """
        return hmac.digest(hash_key, b"mailbox\0" + self.mailbox.encode(), "sha256")


@lru_cache(maxsize=10_000)  # a send asks for each address several times
def parse(text: str) -> Address:
    """The address in `text`; blanks around it are dropped.

    No DNS query is made: a form must answer while a name server is down.

    Raises BadInput (field "email") with what is wrong, in words for the person who typed it.
    """
    text = text.strip()
    if len(text) > MAX_LENGTH:
        raise BadInput(f"The address is longer than {MAX_LENGTH} characters.", "email")
    try:
        found = validate_email(text, check_deliverability=False, allow_smtputf8=True)
    except EmailNotValidError as error:
        raise BadInput(str(error), "email") from error
    local = unicodedata.normalize("NFC", found.local_part)
    domain = found.ascii_domain.lower()
    key = f"{local.translate(_ASCII_LOWER)}@{domain}"
    return Address(spelling=f"{local}@{found.domain}", key=key, mailbox=_mailbox(key))


def of_key(key: str) -> Address:
    """The address of a `key` that `parse` made; nothing is checked again, and it is fast.

    Its spelling is the key: it is no address to send to.
    """
    return Address(spelling=key, key=key, mailbox=_mailbox(key))


def _mailbox(key: str) -> str:
    local, _, domain = key.rpartition("@")
    domain = _SAME_DOMAIN.get(domain, domain)
    # Letters beyond ASCII have cases too; look-alikes stay other people.
    local = (local.partition("+")[0] or local).lower()
    if domain in _DOTLESS:
        local = local.replace(".", "")
    return f"{local}@{domain}"
