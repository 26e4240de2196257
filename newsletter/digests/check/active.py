"""What would run, load or take over something, had it not been taken out long before.

Articles are cleaned when they come in and when they are shown; this looks at what came out, and
at templates, which are an operator's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from newsletter.digests.check import styles
from newsletter.digests.check.built import Built
from newsletter.digests.check.finding import Finding, Part, Place, error

_AWAY = "Take it out of the template: mail programs do, or refuse the mail."
ELEMENT = error("active-element", "The letter holds an element that runs something.", _AWAY)
HANDLER = error("active-handler", "An element has an event handler.", _AWAY)
REFRESH = error("active-refresh", "The letter sends its reader elsewhere by itself.", _AWAY)
STYLE = error("active-style", "A style runs something.", _AWAY)
RULES = (ELEMENT, HANDLER, REFRESH, STYLE)

_ELEMENTS = {"applet", "embed", "frame", "frameset", "iframe", "object", "script"}
_IN_COMMENT = re.compile(rf"<(?:{'|'.join(sorted(_ELEMENTS))})\b", re.IGNORECASE)
_FUNCTIONS = {"expression"}
_PROPERTIES = {"behavior", "-moz-binding"}


def check(built: Built) -> Iterator[Finding]:
    """Elements, event handlers, redirects and styles that do something."""
    document = built.document
    for element in document.elements:
        if element.name in _ELEMENTS:
            yield Finding(ELEMENT, document.at(element))
        if any(name.startswith("on") for name in element.attributes):
            yield Finding(HANDLER, document.at(element))
        if element.attributes.get("http-equiv", "").strip().lower() == "refresh":
            yield Finding(REFRESH, document.at(element))
        if _is_active(element.attributes.get("style", "")):
            yield Finding(STYLE, document.at(element))
    for rule in styles.rules(document.style):
        if any(_does_something(each) for each in rule.declarations):
            yield Finding(STYLE, Place(Part.HTML, None, rule.selector))
    for line, markup in document.conditionals:
        if found := _IN_COMMENT.search(markup):
            yield Finding(ELEMENT, Place(Part.HTML, line, found[0]), "It is for Outlook alone.")


def _is_active(style: str) -> bool:
    return bool(style) and any(_does_something(each) for each in styles.declarations(style))


def _does_something(declaration: styles.Declaration) -> bool:
    if declaration.lower_name in _PROPERTIES:
        return True
    for token in styles.tokens(declaration.value):
        if token.type == "function" and token.lower_name in _FUNCTIONS:
            return True
        if token.type == "url" and "script:" in "".join(str(token.value).lower().split()):
            return True
    return False
