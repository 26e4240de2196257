"""An installation made by the command line itself."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner
from commandline import Home

from newsletter.cli import main


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A fresh installation."""
    made = Home(tmp_path / "home")
    result = CliRunner().invoke(main, ["init", str(made.folder)])
    assert result.exit_code == 0, result.output
    return made


@pytest.fixture
def either_home(
    empty_database_url: str, database_kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Home:
    """A fresh installation; once on SQLite, once on PostgreSQL."""
    made = Home(tmp_path / "home")
    if database_kind == "postgresql":
        monkeypatch.setenv("NEWSLETTER_DATABASE_URL", empty_database_url)
    result = CliRunner().invoke(main, ["init", str(made.folder)])
    assert result.exit_code == 0, result.output
    return made


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The settings are the test's own, whatever the machine has."""
    for name in os.environ:
        if name.startswith("NEWSLETTER_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """Take the log's set-up back, which commands make for their process."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers = handlers
    root.setLevel(level)
