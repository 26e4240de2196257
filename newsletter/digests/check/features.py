"""What of CSS and HTML a large mail program lacks, by a table made from caniemail's data.

clients.json is that table; docs/mail_clients.py makes it, and says what is in it and why.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tinycss2.ast import Declaration

from newsletter.digests.check import styles
from newsletter.digests.check.built import Built
from newsletter.digests.check.document import Document, Element
from newsletter.digests.check.finding import Finding, Level, Part, Place, Rule, excerpt

_TABLE = Path(__file__).with_name("clients.json")
# They read no @media at all, so what is in one cannot harm them.
_WITHOUT_MEDIA = {"Outlook on Windows"}
# As good as not written.
_NOTHING = {"none", "initial", "inherit", "unset", "auto", "normal", "visible", "static"}
_CELLS = {"td", "th"}
# Pixels of padding that nobody misses, such as those around a word in a colour of its own.
_LITTLE = 4
_URL = {"background": "url", "background-image": "url"}


@dataclass(frozen=True)
class Feature:
    """One line of the table. signs: what shows it, by `kind`; see docs/mail_clients.py."""

    rule: Rule
    kind: str
    signs: tuple[str, ...]
    lacked_by: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """date: of caniemail's data, as ISO 8601. by_sign: by kind and sign."""

    date: str
    features: tuple[Feature, ...]
    by_sign: dict[tuple[str, str], Feature]


@cache
def table() -> Table:
    """The table as it is shipped."""
    told: dict[str, Any] = json.loads(_TABLE.read_text(encoding="utf-8"))
    found = tuple(
        Feature(
            Rule(
                each["name"],
                Level.ERROR if each["is_error"] else Level.WARNING,
                f"{each['title']} is not known to {_listed(each['lacked_by'])}.",
                each["instead"],
            ),
            each["kind"],
            tuple(each["signs"]),
            tuple(each["lacked_by"]),
        )
        for each in told["features"]
    )
    by_sign = {(each.kind, sign): each for each in found for sign in each.signs}
    return Table(told["date"], found, by_sign)


def rules() -> tuple[Rule, ...]:
    """The rule of each feature in the table."""
    return tuple(each.rule for each in table().features)


def check(built: Built) -> Iterator[Finding]:
    """Each feature once, where it is first used; the detail says how often it is."""
    first: dict[str, tuple[Feature, Place]] = {}
    count: Counter[str] = Counter()
    for feature, place in _uses(built.document):
        count[feature.rule.name] += 1
        first.setdefault(feature.rule.name, (feature, place))
    for name, (feature, place) in first.items():
        times = f"In {count[name]} places." if count[name] > 1 else ""
        yield Finding(feature.rule, place, times)


def _uses(document: Document) -> Iterator[tuple[Feature, Place]]:
    for element in document.elements:
        for feature in _of_element(element):
            yield feature, document.at(element)
        style = element.attributes.get("style", "")
        for declaration in styles.declarations(style) if style else ():
            for feature in (*_of_declaration(declaration), *_outside_cells(element, declaration)):
                yield feature, document.at(element, _shown(declaration))
    for element in document.all("style"):
        css = "".join(child for child in element.children if isinstance(child, str))
        yield from _of_sheet(css, document.line(element.start))


def _of_element(element: Element) -> Iterator[Feature]:
    signs = table().by_sign
    if found := signs.get(("element", element.name)):
        yield found
    for name in element.attributes:
        if found := signs.get(("attribute", name)):
            yield found
    if element.name == "img":
        yield from _of_picture(element.attributes.get("src", ""))


def _of_picture(address: str) -> Iterator[Feature]:
    signs = table().by_sign
    try:
        parts = urlsplit(address.strip())
    except ValueError:
        return
    ending = parts.path[parts.path.rfind(".") :].lower() if "." in parts.path else ""
    is_data = parts.scheme == "data"
    if found := signs.get(("picture", "data:" if is_data else ending)):
        yield found


def _of_declaration(declaration: Declaration) -> Iterator[Feature]:
    signs, name = table().by_sign, declaration.lower_name
    said = list(styles.tokens(declaration.value))
    words = {each.lower_value for each in said if each.type == "ident"}
    functions = {each.lower_name for each in said if each.type == "function"}
    if any(each.type == "url" for each in said):
        words.add("url")
    found = [signs.get(("property", f"{name}={word}")) for word in (*words, *functions)]
    if not words or not words <= _NOTHING:
        found.append(signs.get(("property", name)))
    found += [signs.get(("function", each)) for each in functions]
    units = {each.lower_unit for each in said if each.type == "dimension"}
    found += [signs.get(("unit", each)) for each in units]
    yield from dict.fromkeys(filter(None, found))


def _outside_cells(element: Element, declaration: Declaration) -> Iterator[Feature]:
    """What is known for cells of tables only, on something else."""
    found = table().by_sign.get(("outside-cells", declaration.lower_name))
    if found is None or element.name in _CELLS or _is_little(declaration):
        return
    # A button: Outlook takes the padding that the cell around it says for Outlook alone.
    if not any(
        "mso-padding-alt" in each.attributes.get("style", "") for each in element.ancestors()
    ):
        yield found


def _is_little(declaration: Declaration) -> bool:
    said = [each for each in styles.tokens(declaration.value) if each.type != "whitespace"]
    return all(
        each.type == "number" or (each.type == "dimension" and each.value <= _LITTLE)
        for each in said
    )


def _of_sheet(css: str, line: int) -> Iterator[tuple[Feature, Place]]:
    signs = table().by_sign
    for rule in styles.rules(css):
        place = Place(Part.HTML, line + rule.line - 1, excerpt(rule.selector))
        found = [signs.get(("at-rule", rule.selector.removeprefix("@")))]
        if " & " in rule.selector:
            found.append(signs.get(("nesting", "&")))
        found += [
            signs.get(("pseudo", each.lower()))
            for each in re.findall(r"::?([a-z-]+)", rule.selector, re.IGNORECASE)
        ]
        for declaration in rule.declarations:
            found += _of_declaration(declaration)
        is_in_media = any(each.startswith("@media") for each in rule.media)
        for feature in filter(None, found):
            if not is_in_media or set(feature.lacked_by) - _WITHOUT_MEDIA:
                yield feature, place


def _shown(declaration: Declaration) -> str:
    return declaration.serialize()


def _listed(names: list[str]) -> str:
    *some, end = names
    return f"{', '.join(some)} and {end}" if some else end
