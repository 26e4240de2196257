"""The README's pictures: each is made by docs/screenshots.py, which still works."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"
README = DOCS.parent / "README.md"


def size(picture: Path) -> tuple[int, int]:
    """Width and height of a WebP with a header of its own (RFC 9649 §2.7), in pixels."""
    raw = picture.read_bytes()
    assert (raw[:4], raw[8:16]) == (b"RIFF", b"WEBPVP8X")
    return 1 + int.from_bytes(raw[24:27], "little"), 1 + int.from_bytes(raw[27:30], "little")


def test_every_picture_is_made_and_shown() -> None:
    """The script names each, the README shows each, none is left over, and all load quickly."""
    there = {path.stem for path in DOCS.glob("*.webp")}
    boards = (DOCS / "screenshots.py").read_text(encoding="utf-8").partition("\nBOARDS")[2]
    made = set(re.findall(r'^    "(\w+)": ', boards, re.MULTILINE))
    shown = re.findall(r"!\[[^\]]+\]\(docs/(\w+)\.webp\)", README.read_text(encoding="utf-8"))
    assert there == made == set(shown)
    assert max(path.stat().st_size for path in DOCS.glob("*.webp")) < 300_000


@pytest.mark.slow
@pytest.mark.browser
def test_the_pictures_can_be_made(tmp_path: Path) -> None:
    """As large as those that are there; how they look, people look at."""
    command = [sys.executable, DOCS / "screenshots.py", tmp_path]
    subprocess.run(command, check=True, timeout=240)
    made = {path.name: size(path)[0] for path in tmp_path.glob("*.webp")}
    assert made == {path.name: size(path)[0] for path in DOCS.glob("*.webp")}
