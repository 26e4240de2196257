"""How commands are found, and how they fail.

A command's module is imported when the command is used: `newsletter --help` reads only a table.
Errors that a person can mend become one message on standard error and an exit code; anything else
is a fault of ours and shows its traceback.
"""

from __future__ import annotations

import errno
import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from newsletter.cli.output import clean_lines
from newsletter.errors import ConfigError, NewsletterError

# The exit code when some mail did not get to where it should; our errors carry the other codes.
NOT_DELIVERED = 3
# When a digest was paused, not by an operator, and waits for one.
STANDS_STILL = 7


@dataclass(frozen=True)
class Lazy:
    """Where a command is: `module:object`, its one line in the help, and the part it stands in."""

    place: str
    summary: str
    part: str = "Commands"


@dataclass(frozen=True)
class Choice:
    """What stood before the command's name: the settings file, if one was named."""

    config_file: Path | None


class NounGroup(click.Group):
    """Commands about one thing; without a command it shows what there is, and that is no error."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.invoke_without_command = True
        self.no_args_is_help = False
        self.subcommand_metavar = "COMMAND [ARGS]..."

    def invoke(self, ctx: click.Context) -> Any:
        """Run the named command, or show the help."""
        result = super().invoke(ctx)
        if ctx.invoked_subcommand is None:
            click.echo(ctx.get_help())
        return result


class LazyGroup(NounGroup):
    """A group whose commands are imported one by one, when they are asked for."""

    def __init__(self, *args: Any, lazy: Mapping[str, Lazy], **more: Any) -> None:
        super().__init__(*args, **more)
        self.lazy = dict(lazy)

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """The names in the order of the table: from setting up to looking back."""
        return list(self.lazy)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command itself; imports its module."""
        entry = self.lazy.get(cmd_name)
        if entry is None:
            return None
        module, _, name = entry.place.partition(":")
        command = getattr(importlib.import_module(module), name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.place} is not a command")
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, part by part, without importing any of them."""
        for part in dict.fromkeys(entry.part for entry in self.lazy.values()):
            with formatter.section(part):
                formatter.write_dl(
                    [(name, e.summary) for name, e in self.lazy.items() if e.part == part]
                )


class EntryGroup(LazyGroup):
    """The outermost group: catches what a person can mend, once."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; a foreseeable error becomes a message and its exit code."""
        _make_streams_lenient()
        try:
            return super().invoke(ctx)
        except Exception as error:
            failure = foreseeable(error)
            if failure is None:
                raise
            # What a relay or a file said may stand in it: nothing of it may move the cursor.
            click.echo(f"Error: {clean_lines(failure.message)}", err=True)
            ctx.exit(failure.exit_code)


@dataclass(frozen=True)
class Failure:
    """A message for standard error, and the exit code that goes with it."""

    message: str
    exit_code: int = 1


def foreseeable(error: Exception) -> Failure | None:
    """The message for an error that the world can cause; None for one that only we can."""
    if isinstance(error, ConfigError):
        faults = "\n".join(f"  {fault}" for fault in error.faults)
        return Failure(f"The settings cannot be used:\n{faults}", error.exit_code)
    if isinstance(error, NewsletterError):
        return Failure(str(error), error.exit_code)
    if isinstance(error, OSError):
        return None if error.errno == errno.EPIPE else Failure(_of_the_system(error))
    if isinstance(error, ModuleNotFoundError) and (error.name or "").startswith("psycopg"):
        return Failure(
            "PostgreSQL needs its driver: pip install 'newsletter[postgres]'", ConfigError.exit_code
        )
    return _of_the_database(error)


def _of_the_system(error: OSError) -> str:
    text = error.strerror or str(error)
    return f"{error.filename}: {text}" if error.filename else text


def _of_the_database(error: Exception) -> Failure | None:
    if "sqlalchemy" not in sys.modules:
        return None
    from sqlalchemy import exc  # noqa: PLC0415  # slow, and most errors are not its

    # DatabaseError itself, not its children: "file is not a database". IntegrityError and the
    # like would be ours, and want a traceback.
    told = isinstance(error, (exc.OperationalError, exc.InterfaceError, exc.TimeoutError))
    if not told and type(error) is not exc.DatabaseError:
        return None
    cause = getattr(error, "orig", None) or error
    return Failure(f"The database cannot be used: {str(cause).strip()}")


def _make_streams_lenient() -> None:
    """A name that the terminal's encoding lacks is shown escaped instead of stopping us."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
