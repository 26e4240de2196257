"""A hand that types commands in one installation."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from newsletter.cli import main

PUBLICATION = (
    "field-notes",
    "--title=Field Notes",
    "--from=Field Notes <notes@example.org>",
    "--privacy-url=https://example.org/privacy",
    "--postal-address=Field Notes, 1 Meadow Lane, Exampleton",
)


@dataclass
class Home:
    """One installation: its folder, its settings file, and `newsletter` called for it."""

    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "newsletter.toml"

    @property
    def database(self) -> Path:
        return self.folder / "newsletter.db"

    def run(self, *arguments: object, code: int = 0) -> Result:
        """Call the command in this process; the exit code must be `code`."""
        words = ["--config", str(self.file), *map(str, arguments)]
        result = CliRunner().invoke(main, words, prog_name="newsletter")
        assert result.exit_code == code, (result.exit_code, result.output, result.exception)
        return result

    def json(self, *arguments: object, code: int = 0) -> Any:
        """The JSON that the command prints on standard output."""
        return json.loads(self.run(*arguments, "--json", code=code).stdout)

    def process(self, *arguments: object, **more: Any) -> subprocess.Popen[str]:
        """The command as a real process; its output goes into pipes unless said otherwise."""
        words = [sys.executable, "-m", "newsletter", "--config", str(self.file)]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **more}
        return subprocess.Popen([*words, *map(str, arguments)], **options)

    def set(self, **settings: object) -> None:
        """Add settings to the file."""
        lines = [f"{name} = {json.dumps(value)}\n" for name, value in settings.items()]
        self.file.write_text(self.file.read_text() + "".join(lines))

    def publish(self) -> None:
        """Make the publication that most tests need."""
        self.run("publication", "create", *PUBLICATION)

    def write(self, name: str, text: str) -> Path:
        """A file in the folder."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def bring_in(self, *addresses: str, status: str = "confirmed") -> None:
        """Import these addresses."""
        path = self.write("people.csv", "email\n" + "".join(f"{each}\n" for each in addresses))
        words = ("--publication", "field-notes", "--status", status, "--evidence", "a test")
        self.run("subscriber", "import", path, *words)
