"""`newsletter secret rotate`: a new key signs the links; what the old one signed stays good.

Only the two values in newsletter.toml change. Comments, order and everything else stay, and the
file is replaced as a whole or not at all.
"""

from __future__ import annotations

import os
import re
import secrets
import tomllib
from pathlib import Path
from typing import Any

import click

from newsletter.cli.files import replaced
from newsletter.cli.group import NounGroup
from newsletter.cli.installation import load_settings
from newsletter.config import Loaded
from newsletter.errors import ConfigError

_KEY, _OLD = "secret_key", "old_secret_keys"


@click.group(cls=NounGroup)
def secret() -> None:
    """Change the key that signs the links in mails."""


@secret.command()
def rotate() -> None:
    """Make a new link secret; links made with the old ones stay good.

    Do it when the key may have been seen by others. Then restart the web app and the workers. To
    break the old links too (people could no longer unsubscribe by them), empty old_secret_keys.

    \b
    newsletter secret rotate
    """
    loaded = load_settings()
    file = _file_to_write(loaded)
    text = file.read_bytes().decode("utf-8")
    _replace(file, rotated(text, secrets.token_urlsafe(32)))
    click.echo(f"{file} has a new secret_key; links made with the old one stay good.")
    click.echo("Restart newsletter serve and newsletter worker, so that they use it.")


def _file_to_write(loaded: Loaded) -> Path:
    """The file that holds the keys; raises ConfigError with the cure when they are elsewhere."""
    for name in (_KEY, _OLD):
        origin = loaded.origins[name]
        if origin not in (str(loaded.file), "default"):
            raise ConfigError(
                [
                    f"{name} ({origin}): it is not in {loaded.file}, so rotate it there: put the "
                    f"secret_key of now at the end of {_OLD} (in a variable with blanks between), "
                    "and a new one into its place; "
                    "python3 -c 'import secrets; print(secrets.token_urlsafe(32))' makes one"
                ]
            )
    return loaded.file.resolve()


def rotated(text: str, new: str) -> str:
    """The settings in `text` with `new` as secret_key and the one of before among the old.

    Every edit is proven by reading the result: only these two values differ, or ConfigError.
    """
    before = tomllib.loads(text)
    wanted = {**before, _KEY: new, _OLD: [*before.get(_OLD, []), before[_KEY]]}
    lines = text.splitlines(keepends=True)
    _put_key(lines, before[_KEY], new)
    _put_old(lines, wanted[_OLD])
    after = "".join(lines)
    if _read(after) != wanted:
        raise ConfigError(
            [f"{_KEY}: the settings are written in a way that only a person can edit"]
        )
    return after


def _put_key(lines: list[str], old: str, new: str) -> None:
    place = _statement(lines, _KEY)
    if place is None:
        return
    first, last = place
    statement = "".join(lines[first:last])
    lines[first:last] = _first_that_reads(
        # With its own quotes first, so that a remark behind it stays.
        [statement.replace(f"{q}{old}{q}", f'"{new}"', 1) for q in "\"'"] + [f'{_KEY} = "{new}"\n'],
        {_KEY: new},
    )


def _put_old(lines: list[str], keys: list[str]) -> None:
    """Add the last of `keys` to the list, or write the list where its default is explained."""
    listed = ", ".join(f'"{key}"' for key in keys)
    whole = f"{_OLD} = [{listed}]\n"
    place = _statement(lines, _OLD)
    if place is None:
        explained = [i for i, line in enumerate(lines) if re.match(rf"#\s*{_OLD}\s*=", line)]
        key = _statement(lines, _KEY)
        at = explained[0] + 1 if explained else (key[1] if key else len(lines))
        if at and not lines[at - 1].endswith("\n"):
            lines[at - 1] += "\n"
        lines.insert(at, whole)
        return
    first, last = place
    statement = "".join(lines[first:last])
    tries = []
    for bracket in reversed([found.start() for found in re.finditer(r"\]", statement)]):
        head, tail = statement[:bracket].rstrip(), statement[bracket:]
        # The last thing before the bracket is a value, a comma, or a remark (which ends its line).
        tries += [
            f'{head}{line}{comma} "{keys[-1]}"{line}{tail}'
            for line in ("", "\n")
            for comma in (",", "")
        ]
    lines[first:last] = _first_that_reads([*tries, whole], {_OLD: keys})


def _statement(lines: list[str], name: str) -> tuple[int, int] | None:
    """Where `name = value` stands: its first line and the one behind its last."""
    for first, line in enumerate(lines):
        if re.match(rf"\s*{name}\s*=", line):
            for last in range(first + 1, len(lines) + 1):
                if (_read("".join(lines[first:last])) or {}).keys() == {name}:
                    return first, last
    return None


def _first_that_reads(candidates: list[str], wanted: dict[str, Any]) -> list[str]:
    found = next(text for text in candidates if _read(text) == wanted)
    return found.splitlines(keepends=True)


def _read(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _replace(file: Path, text: str) -> None:
    """Put `text` in the place of `file`, with its mode and its owner."""
    was = file.stat()
    with replaced(file) as draft:
        draft.write_bytes(text.encode("utf-8"))
        draft.chmod(was.st_mode & 0o777)
        if os.geteuid() == 0:
            # Run by root, it must stay readable for the user that the service runs as.
            os.chown(draft, was.st_uid, was.st_gid)
