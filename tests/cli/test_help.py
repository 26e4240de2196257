"""The whole command line: every command explains itself, and none is slow to say so."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from newsletter.cli import COMMANDS, main


def _all_commands(
    group: click.Group, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from _all_commands(command, (*path, name))


EVERY = dict(_all_commands(main))
WANTED = """
init config config-check config-show migrate serve worker publication publication-create
publication-list publication-show publication-edit subscriber subscriber-list subscriber-show
subscriber-unsubscribe subscriber-erase subscriber-import subscriber-export article article-add
article-list article-show article-remove digest digest-new digest-list digest-show digest-check
digest-preview digest-test digest-approve digest-cancel send pause resume status deliveries retry
backup secret
secret-rotate consent consent-log consent-verify demo
"""
LISTINGS = """
config-show publication-list publication-show subscriber-list subscriber-show article-list
article-show digest-list digest-show digest-check status deliveries retry consent-log
consent-verify send subscriber-import demo
"""


def test_every_promised_command_is_there() -> None:
    """Scripts rely on the names: none of them may vanish."""
    assert set(WANTED.split()) <= {"-".join(path) for path in EVERY}


@pytest.mark.parametrize("path", EVERY, ids="-".join)
def test_help(path: tuple[str, ...]) -> None:
    """--help of each command explains it, each of its options, and shows an example."""
    result = CliRunner().invoke(main, [*path, "--help"])
    assert result.exit_code == 0, result.output
    command = EVERY[path]
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{path} {parameter.opts} has no help"
    if not isinstance(command, click.Group):
        assert "newsletter " in command.help, f"{path} has no example"


@pytest.mark.parametrize("name", LISTINGS.split())
def test_listings_take_json(name: str) -> None:
    """Every listing or status takes --json."""
    options = EVERY[tuple(name.split("-"))].params
    assert any("--json" in each.opts for each in options)


@pytest.mark.parametrize("path", [()] + [p for p, c in EVERY.items() if isinstance(c, click.Group)])
def test_without_a_command(path: tuple[str, ...]) -> None:
    """A group without a command shows what there is, and that is no error."""
    result = CliRunner().invoke(main, list(path))
    assert result.exit_code == 0
    assert "Usage: " in result.stdout
    assert "list" in result.stdout or "Commands" in result.stdout or "Set up" in result.stdout


def test_unknown_command() -> None:
    """A word that is no command is a usage error."""
    result = CliRunner().invoke(main, ["subscribers"])
    assert result.exit_code == 2
    assert "No such command" in result.stderr


def test_version() -> None:
    """--version names the program and its version."""
    from newsletter import __version__

    result = CliRunner().invoke(main, ["--version"])
    assert result.stdout == f"newsletter, version {__version__}\n"


def _imported_by(code: str) -> set[str]:
    program = f"import sys\n{code}\nprint(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(run.stdout.split())


def test_the_overview_is_quick() -> None:
    """`newsletter --help` reads a table: no database, no web, no settings are imported."""
    code = """
import contextlib, io
from newsletter.cli import main
with contextlib.redirect_stdout(io.StringIO()):
    main(["--help"], standalone_mode=False)
"""
    heavy = {"sqlalchemy", "flask", "httpx", "pydantic", "rich", "structlog", "alembic"}
    assert not _imported_by(code) & heavy


def test_status_needs_no_web() -> None:
    """Looking at the sending imports neither Flask nor an HTTP client."""
    assert not _imported_by("import newsletter.cli.status") & {"flask", "httpx", "waitress"}


def test_table_of_commands() -> None:
    """The overview names every command with a line that fits."""
    result = CliRunner().invoke(main, [])
    for name, entry in COMMANDS.items():
        assert f"  {name} " in result.stdout
        assert entry.summary.endswith(".")
        assert len(entry.summary) < 60
