"""What can go wrong, said so that the person who reads it knows the cure.

Every error of ours is a NewsletterError; its text is what the person sees. The edges catch them
once: a page or an exit code. Codes are stable, scripts rely on them.
"""

from __future__ import annotations


class NewsletterError(Exception):
    """Something that the person at the terminal or the form can mend."""

    exit_code = 1


class ConfigError(NewsletterError):
    """The settings are wrong. Lists every fault at once, each with its cure."""

    exit_code = 5

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("\n".join(faults))


class SchemaError(NewsletterError):
    """The database is not of this version's shape. The cure: newsletter migrate."""

    exit_code = 6


class ConsentLogError(NewsletterError):
    """The consent log does not verify: names the first fault and its position.

    `position` is that of the event where it shows; None when it shows at none.
    """

    exit_code = 4

    def __init__(self, message: str, position: int | None = None) -> None:
        self.position = position
        super().__init__(message)


class LogFault(NewsletterError):
    """The log in the database is not the one that was signed for, or did not verify.

    Sign-up and sending stand still until it is mended; leaving and erasing go on. Says what is
    wrong and the cure.
    """

    exit_code = 4


class InvalidProof(NewsletterError):
    """A proof of the Merkle tree that does not hold; says what is wrong with it."""


class BadNote(NewsletterError):
    """A signed note, or a key of one, that cannot be read or was not signed by a known key."""


class BadInput(NewsletterError):
    """A value from outside is not usable; says which, why, and how to mend it.

    `field` names the field or option, so that a form can show the text beside it.
    """

    def __init__(self, message: str, field: str = "") -> None:
        self.field = field
        super().__init__(message)


class NotFound(NewsletterError):
    """What was named does not exist; says where to look."""


class WrongState(NewsletterError):
    """The step does not fit the state that the thing is in; says which step does."""


class BadLink(NewsletterError):
    """A link that we did not make, or not for this purpose."""


class ExpiredLink(BadLink):
    """A link of ours that is too old. `payload` is what it named, so a fresh one can be offered."""

    def __init__(self, message: str, payload: tuple[str, ...] = ()) -> None:
        self.payload = payload
        super().__init__(message)
