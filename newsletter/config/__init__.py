"""The settings: newsletter.toml, over it NEWSLETTER_<NAME>, or NEWSLETTER_<NAME>_FILE for secrets.

A wrong or unknown setting stops the start, and all faults are told at once: nobody should learn
of the second typing error from the second crash.
"""

from newsletter.config.load import DEFAULT_FILE, FILE_VARIABLE, PREFIX, Loaded, load
from newsletter.config.settings import SECRETS, Settings
from newsletter.config.template import template
from newsletter.config.values import Network, SmtpServer, smtp_server

__all__ = [
    "DEFAULT_FILE",
    "FILE_VARIABLE",
    "PREFIX",
    "SECRETS",
    "Loaded",
    "Network",
    "Settings",
    "SmtpServer",
    "load",
    "smtp_server",
    "template",
]
