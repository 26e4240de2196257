"""consent prove and verify-receipt: one person's proof, from the command line."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest
from commandline import Home

from newsletter import consent
from newsletter.config import load


@pytest.fixture
def vkey(home: Home) -> str:
    """The public key of the installation's log."""
    return consent.Keyring.of(load(home.file).settings).signer.verifier.vkey


@pytest.fixture
def people(home: Home) -> Home:
    """Two readers."""
    home.publish()
    home.bring_in("ada@example.net", "bob@example.net")
    return home


def test_prove_and_verify(people: Home, vkey: str) -> None:
    """A file that only its owner reads, and a command that says what is in it."""
    out = people.folder / "ada.json"
    result = people.run("consent", "prove", "Ada@example.net", "--out", out)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert f"--key {vkey}" in result.stdout
    assert not out.with_suffix(".html").exists()
    good = people.run("consent", "verify-receipt", out, "--key", vkey)
    assert "The receipt verifies." in good.stdout
    assert "ada@example.net: field-notes is confirmed" in good.stdout
    assert "a test" in good.stdout
    assert "bob@" not in out.read_text()
    out.write_text(out.read_text().replace("a test", "a tent"))
    bad = people.run("consent", "verify-receipt", out, "--key", vkey, code=1)
    assert "NOT VALID (event 1)" in bad.stderr


def test_prove_for_people(people: Home) -> None:
    """--html writes the page beside the file."""
    out = people.folder / "ada.json"
    people.run("consent", "prove", "ada@example.net", "--out", out, "--html")
    page = out.with_suffix(".html")
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert "<h1>Proof of consent</h1>" in page.read_text(encoding="utf-8")
    people.run("consent", "prove", "ada@example.net", "--out", page, "--html", code=1)


def test_prove_of_one_publication(people: Home) -> None:
    """Only its events; an unknown one or a stranger is an error, and no file is left."""
    out = people.folder / "ada.json"
    people.run(
        *("consent", "prove", "ada@example.net"), *("--publication", "field-notes", "--out", out)
    )
    assert json.loads(out.read_text())["newsletter"]["stated"]["only_publication"] == "field-notes"
    other = people.folder / "none.json"
    people.run("consent", "prove", "eve@example.net", "--out", other, code=1)
    people.run(
        *("consent", "prove", "ada@example.net"), *("--publication", "x", "--out", other), code=1
    )
    assert not other.exists()


def test_an_old_receipt_outlives_erasure_and_rotation(people: Home, vkey: str) -> None:
    """What the person kept verifies; here nothing is left to prove."""
    out = people.folder / "ada.json"
    people.run("consent", "prove", "ada@example.net", "--out", out)
    people.run("subscriber", "erase", "ada@example.net", "--yes")
    consent.Keyring.of(load(people.file).settings).rotate()
    people.run("consent", "verify-receipt", out, "--key", vkey)
    again = people.folder / "again.json"
    people.run("consent", "prove", "ada@example.net", "--out", again, code=1)
    people.run("consent", "prove", "bob@example.net", "--out", again)
    people.run("consent", "verify-receipt", again, "--key", vkey, code=1)
    both = people.run("consent", "prove", "bob@example.net", "--out", again).stdout
    new = re.findall(r"--key (\S+)", both)[0]
    assert new != vkey
    people.run("consent", "verify-receipt", again, "--key", vkey, "--key", new)


def test_verify_receipt_needs_no_installation(tmp_path: Path) -> None:
    """It looks for no settings; a file that is none is told plainly."""
    from click.testing import CliRunner

    from newsletter.cli import main

    file = tmp_path / "x.json"
    words = ["consent", "verify-receipt", str(file), "--key", "nonsense"]
    for content in (None, "{}"):
        if content is not None:
            file.write_text(content)
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 1
        assert result.exception is None or isinstance(result.exception, SystemExit)
