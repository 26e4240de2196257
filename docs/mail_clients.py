"""Makes newsletter/digests/check/clients.json, what large mail programs lack, of caniemail's data.

    npm pack caniemail && tar -xzf caniemail-*.tgz
    python docs/mail_clients.py package/data/caniemail.json

What stands here is our judgement: which features a letter is harmed by when they are missing, how
each is recognised, and what to use in its place. Which programs lack them, and since when that is
known, is caniemail's. A feature that is missing from here is known everywhere, or can be missing
without harm: rounded corners, shadows, media queries, hover.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

TABLE = Path(__file__).parent.parent / "newsletter" / "digests" / "check" / "clients.json"

CLIENTS = {
    "Apple Mail": ("apple-mail", ("macos", "ios")),
    "Gmail": ("gmail", ("desktop-webmail", "ios", "android")),
    "Outlook on Windows": ("outlook", ("windows",)),
    "Outlook.com": ("outlook", ("outlook-com",)),
    "Outlook on a Mac": ("outlook", ("macos",)),
    "Outlook on phones": ("outlook", ("ios", "android")),
    "Yahoo! Mail": ("yahoo", ("desktop-webmail", "ios", "android")),
}

_TABLES = "Lay it out with tables, as the components of the letter do."
_PLAIN = "Write the value out, in px and as #rrggbb."
_SIDES = "Name the sides: left, right, top, bottom."
_GROUND = "Give the same element a background-color on which its words can be read."
_LINK = "Show a picture that links to it."
_FORM = "Link to a page with the form."
_RASTER = "Save the picture as PNG, JPEG or GIF."
_WORDS = "Write it into the letter itself."
_AWAY = "Leave it out."

# Without these, words, links or all of the style are lost: an error. The rest is a warning.
ERRORS = {
    "css-at-import",
    "html-base",
    "html-link",
    "html-object",
    "html-svg",
    "image-base64",
}

# "In part", and a note in words says which ones, or where.
IN_PART = {
    "css-padding": ["Outlook on Windows"],
    "html-semantics": [name for name in CLIENTS if name != "Apple Mail"],
}
TITLES = {"css-padding": "padding outside of the cells of tables"}

# slug: how a letter is seen to use it, and what to do instead. Kinds: property (with a value that
# is one of some words), outside-cells (a property of what is no cell of a table), function, unit,
# at-rule, pseudo (in a selector), element, attribute, and picture (the ending of its address, or
# the scheme of it).
FEATURES: dict[str, tuple[str, list[str], str]] = {
    "css-animation": ("property", ["animation", "animation-name"], "Use an animated GIF."),
    "css-aspect-ratio": ("property", ["aspect-ratio"], "Give width and height."),
    "css-at-import": ("at-rule", ["import"], _WORDS),
    "css-backdrop-filter": ("property", ["backdrop-filter"], _AWAY),
    "css-background-blend-mode": ("property", ["background-blend-mode"], _GROUND),
    "css-background-clip": ("property", ["background-clip", "-webkit-background-clip"], _GROUND),
    "css-background-image": ("property", ["background-image", "background=url"], _GROUND),
    "css-block-inline-size": ("property", ["block-size", "inline-size"], "Use width and height."),
    "css-border-image": ("property", ["border-image", "border-image-source"], _AWAY),
    "css-border-inline-block": (
        "property",
        ["border-inline", "border-block", "border-inline-start", "border-inline-end"],
        _SIDES,
    ),
    "css-box-sizing": ("property", ["box-sizing"], "Count padding into the width yourself."),
    "css-clip-path": ("property", ["clip-path"], "Cut the picture itself."),
    "css-column-count": ("property", ["column-count", "columns"], _TABLES),
    "css-conic-gradient": ("function", ["conic-gradient"], _GROUND),
    "css-display-flex": ("property", ["display=flex", "display=inline-flex"], _TABLES),
    "css-display-grid": ("property", ["display=grid", "display=inline-grid"], _TABLES),
    "css-filter": ("property", ["filter"], "Change the picture itself."),
    "css-float": ("property", ["float=left", "float=right"], _TABLES),
    "css-function-clamp": ("function", ["clamp"], _PLAIN),
    "css-function-light-dark": ("function", ["light-dark"], _PLAIN),
    "css-function-max": ("function", ["max"], _PLAIN),
    "css-function-min": ("function", ["min"], _PLAIN),
    "css-inset": ("property", ["inset"], _TABLES),
    "css-intrinsic-size": (
        "property",
        ["width=fit-content", "width=min-content", "width=max-content"],
        _PLAIN,
    ),
    "css-linear-gradient": ("function", ["linear-gradient", "repeating-linear-gradient"], _GROUND),
    "css-list-style-image": ("property", ["list-style-image"], "Use list-style-type."),
    "css-margin-block-start-end": ("property", ["margin-block-start", "margin-block-end"], _SIDES),
    "css-margin-inline-block": ("property", ["margin-inline", "margin-block"], _SIDES),
    "css-margin-inline-start-end": (
        "property",
        ["margin-inline-start", "margin-inline-end"],
        _SIDES,
    ),
    "css-mask-image": ("property", ["mask-image", "-webkit-mask-image"], "Cut the picture itself."),
    "css-max-inline-size": ("property", ["max-inline-size"], "Use max-width."),
    "css-mix-blend-mode": ("property", ["mix-blend-mode"], _AWAY),
    "css-modern-color": ("function", ["lch", "oklch", "lab", "oklab", "color-mix"], _PLAIN),
    "css-nesting": ("nesting", ["&"], "Write each rule out."),
    "css-object-fit": ("property", ["object-fit"], "Cut the picture itself to its size."),
    "css-padding-block-start-end": (
        "property",
        ["padding-block-start", "padding-block-end"],
        _SIDES,
    ),
    "css-padding-inline-block": ("property", ["padding-inline", "padding-block"], _SIDES),
    "css-padding-inline-start-end": (
        "property",
        ["padding-inline-start", "padding-inline-end"],
        _SIDES,
    ),
    "css-padding": (
        "outside-cells",
        ["padding", "padding-top", "padding-right", "padding-bottom", "padding-left"],
        "Give it to a cell of a table, or use margin.",
    ),
    "css-position": (
        "property",
        ["position=absolute", "position=fixed", "position=relative", "position=sticky"],
        _TABLES,
    ),
    "css-pseudo-element-after": ("pseudo", ["after"], _WORDS),
    "css-pseudo-element-before": ("pseudo", ["before"], _WORDS),
    "css-radial-gradient": ("function", ["radial-gradient", "repeating-radial-gradient"], _GROUND),
    "css-shape-outside": ("property", ["shape-outside"], _AWAY),
    "css-text-orientation": ("property", ["text-orientation"], _AWAY),
    "css-transform": ("property", ["transform", "rotate", "scale", "translate"], _AWAY),
    "css-unit-calc": ("function", ["calc"], _PLAIN),
    "css-unit-ch": ("unit", ["ch"], _PLAIN),
    "css-unit-rem": ("unit", ["rem"], _PLAIN),
    "css-unit-vh": ("unit", ["vh", "svh", "lvh", "dvh"], _PLAIN),
    "css-unit-vmax": ("unit", ["vmax"], _PLAIN),
    "css-unit-vmin": ("unit", ["vmin"], _PLAIN),
    "css-unit-vw": ("unit", ["vw", "svw", "lvw", "dvw"], _PLAIN),
    "css-variables": ("function", ["var"], _PLAIN),
    "css-visibility": ("property", ["visibility=hidden", "visibility=collapse"], _AWAY),
    "css-writing-mode": ("property", ["writing-mode"], _AWAY),
    "css-z-index": ("property", ["z-index"], _TABLES),
    "html-audio": ("element", ["audio"], "Link to it."),
    "html-background": ("attribute", ["background"], _GROUND),
    "html-base": ("element", ["base"], "Write every address whole."),
    "html-button-submit": ("element", ["button"], "Use a link that looks like a button."),
    "html-dialog": ("element", ["dialog"], _WORDS),
    "html-form": ("element", ["form"], _FORM),
    "html-hidden": ("attribute", ["hidden"], "Leave out what nobody is to see."),
    "html-input-text": ("element", ["input"], _FORM),
    "html-link": ("element", ["link"], "Put the styles into the letter's theme."),
    "html-marquee": ("element", ["marquee"], _AWAY),
    "html-meter": ("element", ["meter"], _WORDS),
    "html-object": ("element", ["object", "embed", "applet"], _LINK),
    "html-popover": ("attribute", ["popover"], _WORDS),
    "html-progress": ("element", ["progress"], _WORDS),
    "html-select": ("element", ["select"], _FORM),
    "html-semantics": (
        "element",
        ["article", "aside", "details", "footer", "header", "main", "nav", "section", "summary"],
        "Use div and td: the words stay, but what is styled by these elements does not.",
    ),
    "html-svg": ("element", ["svg"], _RASTER),
    "html-textarea": ("element", ["textarea"], _FORM),
    "html-video": ("element", ["video"], _LINK),
    "image-apng": ("picture", [".apng"], _RASTER),
    "image-avif": ("picture", [".avif"], _RASTER),
    "image-base64": ("picture", ["data:"], "Put the picture on the web, and name its address."),
    "image-heif": ("picture", [".heic", ".heif"], _RASTER),
    "image-ico": ("picture", [".ico"], _RASTER),
    "image-mp4": ("picture", [".mp4", ".webm", ".mov"], _LINK),
    "image-svg": ("picture", [".svg", ".svgz"], _RASTER),
    "image-tiff": ("picture", [".tif", ".tiff"], _RASTER),
    "image-webp": ("picture", [".webp"], _RASTER),
}


def lacking(stats: dict[str, Any]) -> list[str]:
    """The programs whose newest test says no, on any of their platforms."""
    found = []
    for name, (family, platforms) in CLIENTS.items():
        tests = [stats.get(family, {}).get(platform, {}) for platform in platforms]
        if any(list(each.values())[-1].startswith("n") for each in tests if each):
            found.append(name)
    return found


def table(data: dict[str, Any]) -> dict[str, Any]:
    """What the check reads."""
    known = {each["slug"]: each for each in data["data"]}
    features = []
    for slug, (kind, signs, instead) in sorted(FEATURES.items()):
        lacked_by = IN_PART.get(slug) or lacking(known[slug]["stats"])
        if not lacked_by:
            continue
        features.append(
            {
                "name": slug,
                "title": TITLES.get(slug) or known[slug]["title"].strip(),
                "url": known[slug]["url"],
                "tested": known[slug]["last_test_date"],
                "is_error": slug in ERRORS,
                "kind": kind,
                "signs": signs,
                "lacked_by": lacked_by,
                "instead": instead,
            }
        )
    return {
        "source": "https://www.caniemail.com, MIT licence",
        "date": data["last_update_date"][:10],
        "features": features,
    }


def main() -> None:
    """Read the file named by the first argument, write the table."""
    made = table(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    lines = json.dumps(made, indent=1, ensure_ascii=False)
    TABLE.write_text(f"{lines}\n", encoding="utf-8")
    sys.stdout.write(f"{len(made['features'])} features of {made['date']} in {TABLE.name}\n")


if __name__ == "__main__":
    main()
