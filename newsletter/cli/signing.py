"""What commands do with the consent log before people sign up or mail goes out by them."""

from __future__ import annotations

from newsletter import store
from newsletter.cli.installation import Installation, now
from newsletter.consent import checkpoint
from newsletter.consent.keyring import Keyring
from newsletter.errors import LogFault
from newsletter.sending import standing


def signed(here: Installation) -> str | None:
    """The newest checkpoint, signed now if the log has grown; None while nothing is signed.

    A machine without the signing key takes what another one signed last.

    Raises LogFault, with the cure, when the log does not verify or is not the one signed for.
    """
    check_log(here)
    standing.verify(here.engine, here.settings, now=now())
    keyring = Keyring.of(here.settings)
    if keyring.is_complete:
        try:
            with store.transaction(here.engine) as session:
                return checkpoint.sign(session, keyring, now=now())
        except LogFault as fault:
            # The workers read it there.
            with store.transaction(here.engine) as session:
                checkpoint.halt(session, str(fault))
            raise
    with store.reading(here.engine) as session:
        return checkpoint.newest(session)


def check_log(here: Installation) -> None:
    """Raises LogFault, with the cure, when nobody may be brought in and nothing be sent."""
    if fault := standing.take_up(here.engine, here.settings):
        raise fault
