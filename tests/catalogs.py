"""The catalogs of newsletter/locale: what the sources say, and how each language says it.

As a program it brings them up to date with the sources and makes the .mo files; then it tells what
has to be translated:

    python tests/catalogs.py             after words were changed, in the sources or in a catalog
    python tests/catalogs.py pt_BR       the same, and a new language
"""

from __future__ import annotations

import configparser
import io
import sys
from datetime import UTC, datetime
from pathlib import Path

from babel.messages import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from jinja2.ext import babel_extract

ROOT = Path(__file__).resolve().parent.parent
LOCALE = ROOT / "newsletter" / "locale"
DOMAIN = "newsletter"
_EXTRACTORS = {"python": "python", "jinja2": babel_extract}
_WIDTH = 100


def sources() -> list[tuple[str, Path]]:
    """How to read each file that has words for readers ("python" or "jinja2"), and the file."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    return [
        (method, path)
        for pattern, method in settings["babel"].items()
        for path in sorted(ROOT.glob(pattern))
        if path.is_file()
    ]


def extracted() -> Catalog:
    """All that the sources say through gettext."""
    catalog = Catalog(project=DOMAIN)
    for method, path in sources():
        with path.open("rb") as file:
            for line, words, comments, context in extract(
                _EXTRACTORS[method],
                file,
                keywords=DEFAULT_KEYWORDS,
                # A template with a fault in it is no template without words.
                options={"trimmed": "true", "silent": "false", "encoding": "utf-8"},
            ):
                place = (str(path.relative_to(ROOT)), line)
                catalog.add(words, None, [place], auto_comments=comments, context=context)
    return catalog


def languages() -> list[str]:
    """The languages that there is a catalog of."""
    return sorted(path.parent.parent.name for path in LOCALE.glob(f"*/LC_MESSAGES/{DOMAIN}.po"))


def file(language: str, kind: str = "po") -> Path:
    """Where the catalog of `language` is, or its compiled form ("mo")."""
    return LOCALE / language / "LC_MESSAGES" / f"{DOMAIN}.{kind}"


def read(language: str) -> Catalog:
    """The catalog of `language` as its .po file says it."""
    with file(language).open("rb") as opened:
        return read_po(opened, locale=language, domain=DOMAIN, abort_invalid=True)


def messages(catalog: Catalog) -> list[Message]:
    """The messages of a catalog, without its header."""
    return [message for message in catalog if message.id]


def untranslated(catalog: Catalog) -> list[Message]:
    """The messages that lack a translation or a plural form, or have one that is only guessed."""
    return [
        message
        for message in messages(catalog)
        if message.fuzzy
        or not all(message.string if isinstance(message.string, tuple) else (message.string,))
        or (message.pluralizable and len(message.string) != catalog.num_plurals)
    ]


def update(language: str, template: Catalog) -> Catalog:
    """Write the catalog of `language` anew with the messages of `template`, and its .mo file.

    What is said no longer is dropped; nothing is guessed from what is alike.
    """
    if file(language).exists():
        catalog = read(language)
    else:
        catalog = Catalog(
            language,
            DOMAIN,
            header_comment=f"# What newsletter says, in the language {language}.",
            project=DOMAIN,
            version="1",
            msgid_bugs_address=DOMAIN,
            last_translator=DOMAIN,
            language_team=language,
            revision_date=datetime.now(UTC),
            fuzzy=False,
        )
        file(language).parent.mkdir(parents=True)
    catalog.update(template, no_fuzzy_matching=True, update_creation_date=False)
    catalog.obsolete.clear()
    text = io.BytesIO()
    # Without lines: they would change with every edit of a template.
    write_po(text, catalog, width=_WIDTH, include_lineno=False, sort_by_file=True)
    file(language).write_bytes(text.getvalue())
    compiled = io.BytesIO()
    write_mo(compiled, read(language))
    file(language, "mo").write_bytes(compiled.getvalue())
    return catalog


def main(new: list[str]) -> int:
    """Update the catalogs and begin those of `new`; 1 when something has to be translated."""
    template = extracted()
    missing = 0
    for language in sorted({*languages(), *new}):
        left = untranslated(update(language, template))
        missing += len(left)
        print(f"{language}: {len(template)} messages, {len(left)} to translate")
        for message in left:
            print(f"  {message.id!r}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
