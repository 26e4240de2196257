"""Receipts: what one person declared and withdrew, with the proof that the log holds it.

A receipt is one JSON file that anybody checks offline with verify_receipt.py, which needs nothing
of ours; the same code makes all of a receipt that follows from its events.
"""

from newsletter.consent.receipt.dossier import build, written
from newsletter.consent.receipt.page import html

__all__ = ["build", "html", "written"]
