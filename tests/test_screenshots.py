"""The README's pictures: each is made by docs/screenshots.py, which still works."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"
README = DOCS.parent / "README.md"


def size(picture: Path) -> tuple[int, int]:
    """Width and height of a PNG, in pixels."""
    raw = picture.read_bytes()
    assert raw[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", raw[16:24])
    return width, height


def test_every_picture_is_made_and_shown() -> None:
    """The script names each, the README shows each, and none is left over from before."""
    there = {path.stem for path in DOCS.glob("*.png")}
    boards = (DOCS / "screenshots.py").read_text(encoding="utf-8").partition("\nBOARDS")[2]
    made = set(re.findall(r'^    "(\w+)": ', boards, re.MULTILINE))
    shown = re.findall(r"!\[[^\]]+\]\(docs/(\w+)\.png\)", README.read_text(encoding="utf-8"))
    assert there == made == set(shown)
    assert sum(path.stat().st_size for path in DOCS.glob("*.png")) < 3_000_000


@pytest.mark.slow
@pytest.mark.browser
def test_the_pictures_can_be_made(tmp_path: Path) -> None:
    """As large as those that are there; how they look, people look at."""
    command = [sys.executable, DOCS / "screenshots.py", tmp_path]
    subprocess.run(command, check=True, timeout=240)
    made = {path.name: size(path)[0] for path in tmp_path.glob("*.png")}
    assert made == {path.name: size(path)[0] for path in DOCS.glob("*.png")}
