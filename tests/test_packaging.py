"""The wheel: built, installed into an environment of its own, and run from another folder."""

from __future__ import annotations

import json
import os
import shutil
import site
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from newsletter import __version__

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("newsletter", "templates", "migrations")


def run(*command: str | Path, cwd: Path) -> str:
    """Standard output of a command that succeeds; it sees neither the checkout nor our settings."""
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("NEWSLETTER_", "PYTHON"))
    }
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel made of the sources alone: nothing of an earlier build lies beside them."""
    place = tmp_path_factory.mktemp("sources")
    for folder in SOURCES:
        shutil.copytree(ROOT / folder, place / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, place / file)
    run(
        sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", place / "dist",
        cwd=place,
    )  # fmt: skip
    (built,) = (place / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a fresh environment with the wheel in it, and our libraries behind it."""
    place = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", place / "venv", cwd=place)
    python = place / "venv" / "bin" / "python"
    run(
        sys.executable, "-m", "pip", "--python", python,
        "install", "--no-deps", "--no-index", "--quiet", wheel,
        cwd=place,
    )  # fmt: skip
    packages = Path(
        run(
            python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=place
        ).strip()
    )
    # Behind: what is in this environment itself is found first.
    libraries = "\n".join(path for path in site.getsitepackages() if Path(path).is_dir())
    (packages / "libraries.pth").write_text(libraries + "\n", encoding="utf-8")
    return python.parent


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder that has nothing to do with the sources."""
    return tmp_path


def test_wheel_has_every_file(wheel: Path) -> None:
    """Each source file is in the wheel, templates and migrations inside the package."""
    wanted = {
        f"newsletter/{path.relative_to(ROOT / 'newsletter' if top == 'newsletter' else ROOT)}"
        for top in SOURCES
        for path in (ROOT / top).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert wanted - names == set()
    extra = {name for name in names - wanted if ".dist-info/" not in name}
    assert extra == set()
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_it_is_the_installed_one(installed: Path, elsewhere: Path) -> None:
    """What the following tests look at is the wheel's code, not the checkout's."""
    where = run(
        installed / "python", "-c", "import newsletter; print(newsletter.__file__)", cwd=elsewhere
    )
    assert Path(where.strip()).is_relative_to(installed.parent)


def test_version(installed: Path, elsewhere: Path) -> None:
    """The command is there and says its version."""
    assert __version__ in run(installed / "newsletter", "--version", cwd=elsewhere)
    assert __version__ in run(installed / "python", "-m", "newsletter", "--version", cwd=elsewhere)


def test_init_and_first_page(installed: Path, elsewhere: Path) -> None:
    """From another folder: settings and database are made, pages and letters are found."""
    run(installed / "newsletter", "init", "mine", cwd=elsewhere)
    assert (elsewhere / "mine" / "newsletter.toml").exists()
    assert (elsewhere / "mine" / "newsletter.db").exists()
    status = run(installed / "newsletter", "status", "--json", cwd=elsewhere / "mine")
    assert json.loads(status) is not None
    program = """
from newsletter.resources import resource_dir
from newsletter.web import create_app_from_environment
app = create_app_from_environment()
client = app.test_client()
print(client.get("/").status_code, client.get("/static/style.css").status_code)
print(len(list((resource_dir("templates") / "mail").glob("*/body.html"))))
"""
    pages, letters = run(installed / "python", "-c", program, cwd=elsewhere / "mine").split("\n")[
        :2
    ]
    assert pages == "200 200"
    assert int(letters) >= 6


def test_languages(installed: Path, elsewhere: Path) -> None:
    """The installed one speaks every language, without a step of its own."""
    program = """
from newsletter import i18n
print(*(i18n.translations(tag).gettext("Unsubscribe") for tag in i18n.languages()), sep="|")
"""
    said = run(installed / "python", "-X", "utf8", "-c", program, cwd=elsewhere).strip()
    assert said == "Unsubscribe|Abmelden|Darse de baja|Se désabonner"


def test_an_older_python_is_refused(installed: Path, elsewhere: Path) -> None:
    """pip refuses to install it for a Python that is too old, instead of a failure later."""
    program = (
        "from importlib.metadata import metadata; print(metadata('newsletter')['Requires-Python'])"
    )
    assert run(installed / "python", "-c", program, cwd=elsewhere).strip() == ">=3.11"
