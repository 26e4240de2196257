"""The large mailbox providers: which domains are one, and how fast mail for them may go.

No provider publishes a rate. What is known is how many connections at once they are content with
from a sender of good name: five for Google and Microsoft, ten short ones for Apple (the shaping
rules that KumoMTA ships, which name the providers' own pages as their source). A mail takes such a
connection about a quarter of a second, which makes 20 mails a second. Those who say nothing get as
much, and the smaller ones a half. A sender without a name yet should go slower, one whose relay
shapes the traffic itself need not be held up at all: the setting domain_rates overrides.
"""

from __future__ import annotations

# The first of each group names it. Mails a second, over all processes.
_GROUPS: tuple[tuple[float, tuple[str, ...]], ...] = (
    (20, ("gmail.com", "googlemail.com")),
    (
        20,
        (
            "outlook.com",
            "hotmail.com",
            "live.com",
            "msn.com",
            "passport.com",
            "windowslive.com",
            *(f"hotmail.{end}" for end in ("be", "ca", "co.uk", "de", "es", "fr", "it", "nl")),
            *(f"live.{end}" for end in ("be", "ca", "co.uk", "de", "fr", "it", "nl", "se")),
            *(f"outlook.{end}" for end in ("at", "be", "de", "dk", "es", "fr", "it", "pt")),
        ),
    ),
    (
        20,
        (
            "yahoo.com",
            "aol.com",
            "ymail.com",
            "rocketmail.com",
            "myyahoo.com",
            "aim.com",
            "verizon.net",
            *(f"yahoo.{end}" for end in ("ca", "co.in", "co.uk", "de", "es", "fr", "in", "it")),
            *(f"yahoo.com.{end}" for end in ("ar", "au", "br", "mx", "sg", "tr", "vn")),
        ),
    ),
    (10, ("icloud.com", "me.com", "mac.com")),
    (10, ("gmx.net", "gmx.de", "gmx.at", "gmx.ch", "gmx.com", "web.de", "mail.com")),
)

_NAMES = {domain: group[0] for _rate, group in _GROUPS for domain in group}

# Mails a second by the provider's name.
RATES: dict[str, float] = {group[0]: float(rate) for rate, group in _GROUPS}


def provider(domain: str) -> str:
    """Whose mailboxes a domain's are: one name for all domains of a large provider.

    domain: ASCII, lower case. Any other domain is its own provider.
    """
    return _NAMES.get(domain, domain)
