"""Finds templates/ and migrations/, in an installed wheel, an editable install or a checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def resource_dir(name: str) -> Path:
    """The folder of the shipped files called `name` ("templates" or "migrations").

    In a wheel they lie inside the package, in a checkout beside it; setup.cfg's `package_dir`
    makes the one out of the other.

    Raises FileNotFoundError when the installation is incomplete.
    """
    for base in (_PACKAGE, _PACKAGE.parent):
        folder = base / name
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"the folder {name}/ is missing beside {_PACKAGE}: reinstall newsletter"
    )
