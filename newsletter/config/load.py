"""Reads the settings from the file and the environment, and tells every fault at once."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from newsletter.config.settings import SECRETS, Settings
from newsletter.errors import ConfigError

PREFIX = "NEWSLETTER_"
DEFAULT_FILE = "newsletter.toml"
# Read by the command line and wsgi.py to find the file; not a setting of its own.
FILE_VARIABLE = "NEWSLETTER_CONFIG"


@dataclass(frozen=True)
class Loaded:
    """Settings with where each came from: a file's name, a variable's name, or "default"."""

    settings: Settings
    origins: dict[str, str]
    file: Path


def load(file: Path | None = None, environ: Mapping[str, str] | None = None) -> Loaded:
    """Read the settings.

    file: the TOML file; None means NEWSLETTER_CONFIG or newsletter.toml of the working directory,
        where a missing one is fine as long as the environment has all that is needed.
    environ: the environment variables; None means the process's.

    Raises ConfigError with every fault, each naming the setting, its origin and the cure.
    """
    environ = os.environ if environ is None else environ
    named = file or (Path(environ[FILE_VARIABLE]) if FILE_VARIABLE in environ else None)
    path = named or Path(DEFAULT_FILE)
    faults: list[str] = []
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    _read_file(path, named is not None, values, origins, faults)
    _read_environment(environ, values, origins, faults)
    try:
        settings = Settings(**{k: v for k, v in values.items() if k in Settings.model_fields})
    except ValidationError as error:
        settings = None
        for fault in error.errors():
            name = str(fault["loc"][0])
            text = str(fault["msg"]).removeprefix("Value error, ")
            if fault["type"] == "missing":
                text = f"is not set; put it into {path} or set {PREFIX}{name.upper()}"
                if not path.exists():
                    text += f" ({path} does not exist: newsletter init makes one)"
            faults.append(f"{name} ({origins.get(name, 'missing')}): {text}")
    if faults or settings is None:
        raise ConfigError(faults)
    settings = _anchor(settings, path)
    return Loaded(settings, {n: origins.get(n, "default") for n in Settings.model_fields}, path)


def _read_file(
    path: Path, must_exist: bool, values: dict[str, Any], origins: dict[str, str], faults: list[str]
) -> None:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if must_exist:
            faults.append(f"{path} does not exist: newsletter init makes one")
        return
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        faults.append(f"{path}: cannot be read: {error}")
        return
    for name, value in table.items():
        if name not in Settings.model_fields:
            faults.append(f"{name} ({path}): unknown setting{_did_you_mean(name)}")
        values[name] = value
        origins[name] = str(path)


def _read_environment(
    environ: Mapping[str, str], values: dict[str, Any], origins: dict[str, str], faults: list[str]
) -> None:
    for variable, value in sorted(environ.items()):
        text = value
        if not variable.startswith(PREFIX) or variable == FILE_VARIABLE:
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name.endswith("_file") and name.removesuffix("_file") in SECRETS:
            name = name.removesuffix("_file")
            if PREFIX + name.upper() in environ:
                faults.append(
                    f"{name}: both {PREFIX}{name.upper()} and {variable} are set; keep one"
                )
            try:
                text = Path(text).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                faults.append(f"{name} ({variable}): cannot be read: {error}")
                continue
        if name not in Settings.model_fields:
            faults.append(f"{variable}: unknown setting{_did_you_mean(name)}")
            continue
        values[name] = _value(name, text)
        origins[name] = variable


def _value(name: str, text: str) -> Any:
    """A list in a variable is its items with blanks between; of a table, name=value each."""
    kind = str(Settings.model_fields[name].annotation)
    if kind.startswith("dict"):
        return dict(item.partition("=")[::2] for item in text.split())
    return text.split() if "list" in kind else text


def _did_you_mean(name: str) -> str:
    near = difflib.get_close_matches(name, Settings.model_fields, n=1)
    return f"; did you mean {near[0]}?" if near else "; newsletter config show lists them"


def _anchor(settings: Settings, file: Path) -> Settings:
    """A relative SQLite file and folder lie beside the settings, wherever the command started."""
    beside = file.resolve().parent if file.exists() else Path.cwd()
    places = {
        "consent_folder": str(beside / settings.consent_folder),
        "dkim_folder": str(beside / settings.dkim_folder),
    }
    if settings.templates_folder:
        places["templates_folder"] = str(beside / settings.templates_folder)
    name = settings.database_url.removeprefix("sqlite:///")
    if name not in (settings.database_url, ":memory:"):
        places["database_url"] = f"sqlite:///{beside / name}"
    return settings.model_copy(update=places)
