"""What is to be seen of a digest in the preview: chosen by links, kept in the address."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from urllib.parse import urlencode

VIEWS = {
    "letter": "Letter",
    "text": "Text",
    "source": "Source",
    "headers": "Headers",
    "check": "Check",
}
SCHEMES = {"light": "Light", "dark": "Dark"}
WIDTHS = {"desktop": "Desktop", "phone": "Phone"}
PICTURES = {"on": "Pictures", "off": "Blocked"}
READERS = {"named": "Named", "unnamed": "Nameless", "long": "Long name"}

_LONGEST_ADDRESS = 320


@dataclass(frozen=True)
class Choice:
    """One of the words above for each.

    reader: or the address of a subscriber. theme: the name of one; "" for the publication's.
    """

    view: str = "letter"
    scheme: str = "light"
    width: str = "desktop"
    pictures: str = "on"
    reader: str = "named"
    theme: str = ""

    @classmethod
    def of(cls, values: Mapping[str, str], themes: Collection[str]) -> Choice:
        """The choice in the parameters of an address; what is not known there is the first one."""
        reader = values.get("reader", "").strip()[:_LONGEST_ADDRESS]
        theme = values.get("theme", "")
        return cls(
            view=_one_of(VIEWS, values.get("view")),
            scheme=_one_of(SCHEMES, values.get("scheme")),
            width=_one_of(WIDTHS, values.get("width")),
            pictures=_one_of(PICTURES, values.get("pictures")),
            reader=reader if reader in READERS or "@" in reader else next(iter(READERS)),
            theme=theme if theme in themes else "",
        )

    def query(self, **changes: str) -> str:
        """The parameters that choose the same but for `changes`; "" for what is shown first."""
        said, first = asdict(replace(self, **changes)), asdict(Choice())
        return urlencode({name: v for name, v in said.items() if v != first[name]})


def _one_of(words: Mapping[str, str], value: str | None) -> str:
    return value if value is not None and value in words else next(iter(words))
