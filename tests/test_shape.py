"""The shape of the house: who imports whom, what is shipped, what the README names, how long."""

from __future__ import annotations

import ast
import configparser
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from flask import Flask
from sqlalchemy import Engine

from newsletter.cli import main
from newsletter.config import Settings
from newsletter.web import create_app

ROOT = Path(__file__).resolve().parent.parent
CODE = ROOT / "newsletter"
README = ROOT / "README.md"

# What changes something. Everything else answers GET, HEAD and OPTIONS only, and tests/web proves
# over every rule that those change nothing.
POST_RULES = {
    "/<slug:slug>/subscribe",
    "/confirm/<link>",
    "/unsubscribe/<link>",
    "/preferences/<link>",
    "/access/<link>",
}


def own_files(*folders: Path) -> list[Path]:
    """The files of these folders, without what Python and editors leave behind."""
    return sorted(
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.endswith(".orig")
    )


def modules(*folders: Path) -> list[Path]:
    return [path for path in own_files(*folders) if path.suffix == ".py"]


def functions(module: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.fixture(scope="module")
def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def test_imports_point_downward() -> None:
    """The map of setup.cfg holds: layers, Flask, sockets and HTTP each in their own room."""
    # In a process of its own, which sees the checkout and not an installed copy of it.
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from importlinter.cli import lint_imports; "
            "sys.exit(lint_imports(config_filename='setup.cfg', no_cache=True))",
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("contract", "rooms"),
    [("flask", {"web"}), ("sockets", {"mail", "fetch"}), ("http", {"fetch"})],
)
def test_every_other_room_is_forbidden_it(
    setup_cfg: configparser.ConfigParser, contract: str, rooms: set[str]
) -> None:
    """A new room is named in the contracts too: what they do not name they do not look at."""
    named = setup_cfg[f"importlinter:contract:{contract}"]["source_modules"].split()
    there = {path.stem for path in CODE.glob("*.py")} | {
        path.parent.name for path in CODE.glob("*/__init__.py")
    }
    there -= {"__init__", "__main__"}
    assert set(named) == {f"newsletter.{name}" for name in there - rooms}


def test_the_libraries_http_clients_are_not_used() -> None:
    """The standard library's HTTP clients check neither address nor size: newsletter.fetch does.

    import-linter cannot forbid a part of a library.
    """
    for path in modules(CODE):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            assert not {"urllib.request", "http.client"} & set(names), path


def packages(setup_cfg: configparser.ConfigParser) -> dict[str, Path]:
    """The packages that setup.cfg ships, with their folders in the checkout."""
    moved = dict(
        tuple(part.strip() for part in line.split("="))
        for line in setup_cfg["options"]["package_dir"].split("\n")
        if line
    )
    names = setup_cfg["options"]["packages"].split()
    return {name: ROOT / moved.get(name, name.replace(".", "/")) for name in names}


def test_packages_are_all_listed(setup_cfg: configparser.ConfigParser) -> None:
    """A forgotten package works in the checkout and is missing in the wheel."""
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in modules(CODE)
        if path.name == "__init__.py"
    }
    with_code = {".".join(path.parent.relative_to(ROOT).parts) for path in modules(CODE)}
    assert with_code == found, "a folder with code and without __init__.py"
    assert set(packages(setup_cfg)) == found | {"newsletter.templates", "newsletter.migrations"}


def test_every_file_is_shipped(setup_cfg: configparser.ConfigParser) -> None:
    """Each template, migration, catalog and static file matches a glob of package_data."""
    shipped: set[Path] = set()
    for name, folder in packages(setup_cfg).items():
        shipped |= set(folder.glob("*.py"))
        for pattern in setup_cfg["options.package_data"].get(name, "").split(","):
            if pattern.strip():
                shipped |= set(folder.glob(pattern.strip()))
    files = own_files(CODE, ROOT / "templates", ROOT / "migrations")
    assert [path for path in files if path not in shipped] == []


def commands(
    command: click.Command = main, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that call it; groups too."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name="newsletter")
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None, name
            yield from commands(child, (*path, name))


def options() -> Iterator[tuple[str, click.Option]]:
    for path, command in commands():
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                yield " ".join(("newsletter", *path)), parameter


def test_every_command_has_help() -> None:
    """`--help` says of each command, in a sentence, what it does."""
    for path, command in commands():
        text = (command.help or "").strip()
        assert text, path
        assert text.split("\n\n")[0].rstrip().endswith((".", "?")), (path, text)


def test_every_option_has_help() -> None:
    """`--help` says of each option what it does."""
    for command, option in options():
        assert option.help, (command, option.opts)


def test_every_command_is_in_the_readme() -> None:
    """The README names each command: `newsletter pause ID`, or `resume ID` beside it in a row."""
    text = README.read_text(encoding="utf-8")
    start = r"`?newsletter (?:[^\n|]*`, `)?"
    missing = [
        " ".join(("newsletter", *path))
        for path, command in commands()
        if not isinstance(command, click.Group)
        and not re.search(
            start + r"\b[^\n]*\b".join(re.escape(word) for word in path) + r"(?![\w-])", text
        )
    ]
    assert missing == []


def test_every_option_is_in_the_readme() -> None:
    """The README names each option."""
    text = README.read_text(encoding="utf-8")
    missing = [
        f"{command} {option.opts[-1]}"
        for command, option in options()
        if not any(re.search(rf"(?<![\w-]){re.escape(o)}(?![\w-])", text) for o in option.opts)
    ]
    assert missing == []


def test_every_setting_is_in_the_readme() -> None:
    """The README names each setting."""
    text = README.read_text(encoding="utf-8")
    missing = [name for name in Settings.model_fields if not re.search(rf"\b{name}\b", text)]
    assert missing == []


def test_the_readmes_two_commands() -> None:
    """A newcomer's two lines stand in the README, and what is run before a change is the second."""
    text = README.read_text(encoding="utf-8")
    assert "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/newsletter demo\n" in text
    command = "python3 -m venv .venv && .venv/bin/pip install '.[dev]' && .venv/bin/pytest\n"
    assert command in text
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_readme_names_files_that_exist() -> None:
    """A link or a picture of the README leads somewhere."""
    text = README.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)\s#]+)[^)]*\)", text) + re.findall(
        r'(?:src|href)="([^"]+)"', text
    )
    local = [target for target in targets if "://" not in target and ":" not in target]
    assert [target for target in local if not (ROOT / target).exists()] == []


@pytest.fixture
def app(settings: Settings, engine: Engine) -> Flask:
    return create_app(settings, engine)


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_what_changes_something_is_a_known_rule(app: Flask) -> None:
    """A new route that takes POST is a decision: it is added here with its reason."""
    safe = {"GET", "HEAD", "OPTIONS"}
    unsafe = {rule.rule for rule in app.url_map.iter_rules() if (rule.methods or set()) - safe}
    assert unsafe == POST_RULES
    for rule in app.url_map.iter_rules():
        assert (rule.methods or set()) <= {*safe, "POST"}, rule


def test_nothing_is_left_to_do() -> None:
    """What is not done is written down where work is planned, not in the code."""
    marks = re.compile("T[O]DO|F[I]XME|X[X]X")
    folders = (CODE, *(ROOT / name for name in ("templates", "migrations", "tests", "docs")))
    for path in [*own_files(*folders), README, ROOT / "setup.cfg", ROOT / "wsgi.py"]:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:  # a picture
            continue
        assert not marks.search(text), path


# A stranger copies this program as one file: what it needs stands in it.
ONE_FILE = {"newsletter/consent/receipt/verify_receipt.py": 600}


def test_files_are_short() -> None:
    """300 lines are a question, 400 are an answer: split."""
    long = {
        str(path.relative_to(ROOT)): lines
        for path in modules(CODE)
        if (lines := len(path.read_text(encoding="utf-8").splitlines()))
        > ONE_FILE.get(str(path.relative_to(ROOT)), 400)
    }
    assert long == {}


def test_functions_are_short() -> None:
    """No function over 60 lines."""
    long = {
        f"{path.relative_to(ROOT)}:{function.name}": lines
        for path in modules(CODE)
        for function in functions(path)
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > 60
    }
    assert long == {}


def test_modules_say_what_they_promise() -> None:
    """Each module of the package and of the tests begins with a docstring."""
    silent = [
        str(path.relative_to(ROOT))
        for path in modules(CODE, ROOT / "tests")
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []


def test_public_functions_and_classes_have_docstrings() -> None:
    """What other rooms may call says what it takes, gives and raises."""
    silent = []
    for path in modules(CODE):
        if path.stem.startswith("_") and path.stem != "__init__":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            if (
                isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
                and not node.name.startswith("_")
                and not ast.get_docstring(node)
            ):
                silent.append(f"{path.relative_to(ROOT)}:{node.name}")
    assert silent == []


def test_tests_state_a_behaviour() -> None:
    """Each test's docstring says in a sentence what holds."""
    silent = [
        f"{path.relative_to(ROOT)}:{function.name}"
        for path in modules(ROOT / "tests")
        for function in functions(path)
        if function.name.startswith("test_")
        and not (ast.get_docstring(function) or "").split("\n\n")[0].endswith((".", "?"))
    ]
    assert silent == []
