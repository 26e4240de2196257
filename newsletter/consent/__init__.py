"""The record: what people declared and withdrew, in words that can be shown years later."""

from newsletter.consent.check import Report, verify
from newsletter.consent.event import EventType, Evidence
from newsletter.consent.keyring import Keyring
from newsletter.consent.log import (
    Entry,
    Subject,
    declaration,
    entries,
    record,
    record_erasure,
    record_many,
    record_recovery,
)
from newsletter.consent.wording import Wording, check_wording, wording_of

__all__ = [
    "Entry",
    "EventType",
    "Evidence",
    "Keyring",
    "Report",
    "Subject",
    "Wording",
    "check_wording",
    "declaration",
    "entries",
    "record",
    "record_erasure",
    "record_many",
    "record_recovery",
    "verify",
    "wording_of",
]
