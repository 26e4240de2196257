"""A receipt for people: one HTML file to read and print, with the whole proof in it.

It loads nothing and runs nothing. What people wrote stands in it as text only; no address in it is
a link, since whoever wrote it may have written anything.
"""

from __future__ import annotations

import base64
from functools import lru_cache
from typing import Any

import jinja2
from jinja2.ext import InternationalizationExtension
from jinja2.sandbox import ImmutableSandboxedEnvironment

from newsletter import i18n
from newsletter.consent.receipt import verify_receipt
from newsletter.resources import resource_dir


def html(receipt: dict[str, Any], language: str) -> str:
    """The page of a receipt (as `build` gives it), in `language` (a BCP 47 tag)."""
    own = receipt["newsletter"]
    origin, size = own["checkpoint"].split("\n")[:2]
    file = verify_receipt.serialized(receipt)
    return (
        _environment(language)
        .get_template("receipt/page.html")
        .render(
            receipt=receipt,
            own=own,
            titles={each["slug"]: each["title"] for each in own["stated"]["publications"]},
            origin=origin,
            size=int(size),
            file=base64.b64encode(file).decode(),
            written=[
                (
                    verify_receipt.canonical(entry["event"]).decode(),
                    entry["opening"],
                    # The note is the same in each and stands below once.
                    entry["proof"].partition("\n\n")[0],
                )
                for entry in own["events"]
            ],
        )
    )


@lru_cache(maxsize=64)
def _environment(language: str) -> jinja2.Environment:
    environment = ImmutableSandboxedEnvironment(
        loader=jinja2.FileSystemLoader(resource_dir("templates")),
        autoescape=True,
        extensions=[InternationalizationExtension],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.install_gettext_translations(  # type: ignore[attr-defined]
        i18n.translations(language), newstyle=True
    )
    environment.policies["ext.i18n.trimmed"] = True
    lang = i18n.choose([language])
    environment.filters["moment"] = lambda value: i18n.moment(value, lang)
    environment.filters["number"] = lambda value: i18n.number(value, lang)
    environment.globals |= {"lang": lang, "dir": "rtl" if i18n.is_right_to_left(lang) else "ltr"}
    return environment
