"""The words that people agree to, and their version.

The version is made of the words and the policy that they name, so that it cannot be forgotten to
be raised: whoever changes the words has another version.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from newsletter.errors import BadInput
from newsletter.i18n import choose, translations
from newsletter.store import Publication

_LINKED = re.compile(r"\[([^\[\]]+)\]")


@dataclass(frozen=True)
class Wording:
    """What stands beside the box. `marked` has the words that link the policy in [brackets]."""

    marked: str
    language: str
    privacy_url: str
    privacy_version: str

    @property
    def text(self) -> str:
        """The words as the person reads them."""
        return "".join(self.parts)

    @property
    def parts(self) -> tuple[str, str, str]:
        """What stands before the link, the linked words, and what stands after."""
        before, linked, after = _LINKED.split(self.marked, maxsplit=1)
        return before, linked, after

    @property
    def version(self) -> str:
        """16 hex digits that change with the words, the policy's address or its version."""
        said = "\0".join((self.text, self.privacy_url, self.privacy_version))
        return hashlib.sha256(said.encode()).hexdigest()[:16]


def check_wording(text: str) -> str:
    """An operator's own wording, checked; raises BadInput unless [some words] link the policy."""
    text = " ".join(text.split())
    if len(_LINKED.findall(text)) != 1:
        raise BadInput(
            "The consent wording must have exactly one part in [square brackets]: these words "
            "become the link to the privacy policy.",
            "consent_wording",
        )
    return text


def wording_of(publication: Publication, language: str) -> Wording:
    """Today's wording of a publication for a reader of `language`.

    A publication's own wording is in the publication's language, whatever the reader's is.
    """
    marked = publication.consent_wording
    if marked is None:
        # English, where there is no catalog: the log must say which language it was.
        language = choose([language])
        # GDPR Art. 7(3): whoever consents is told before that it can be withdrawn.
        template = translations(language).gettext(
            "I have read and agree to the [Privacy Policy], "
            "and I look forward to email updates from %(title)s. "
            "I can withdraw my consent at any time."
        )
        # Brackets in a title must not become the link.
        title = publication.title.replace("[", "(").replace("]", ")")
        marked = template % {"title": title}
    else:
        language = publication.language
    return Wording(marked, language, publication.privacy_url, publication.privacy_version)
