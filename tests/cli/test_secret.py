"""secret rotate: a new key, old links stay good, and the file keeps all that a person wrote."""

from __future__ import annotations

import stat
import tomllib
from datetime import datetime
from pathlib import Path

import pytest
from commandline import Home

from newsletter import config
from newsletter.cli.secret import rotated
from newsletter.errors import ConfigError
from newsletter.links import Links

OLD, NEW = "o" * 40, "n" * 40


def links_of(home: Home) -> Links:
    settings = config.load(home.file, {}).settings
    return Links(settings.base_url, tuple(settings.all_secret_keys))


def test_old_links_stay_good(home: Home, now: datetime) -> None:
    """What the old keys signed is read after two rotations, and new links have a new signature."""
    first = links_of(home)
    token = first.token("unsubscribe", "abc", at=now)
    home.run("secret", "rotate")
    home.run("secret", "rotate")
    last = links_of(home)
    assert last.read("unsubscribe", token, now=now) == ("abc",)
    assert last.token("unsubscribe", "abc", at=now) != token
    assert len(last.keys) == 3
    home.run("status")


def test_the_rest_stays(home: Home) -> None:
    """Every other line, the mode and the owner are as before."""
    home.file.write_text("# mine\n" + home.file.read_text() + 'port = 9 # "secret_key = 1"\n')
    home.file.chmod(0o640)
    before = home.file.read_text().splitlines()
    home.run("secret", "rotate")
    after = home.file.read_text().splitlines()
    added = [line for line in after if line not in before]
    removed = [line for line in before if line not in after]
    assert [line.split(" = ")[0] for line in added] == ["secret_key", "old_secret_keys"]
    assert [line.split(" = ")[0] for line in removed] == ["secret_key"]
    assert stat.S_IMODE(home.file.stat().st_mode) == 0o640
    assert not [path for path in home.folder.iterdir() if path.name.startswith(".")]


def test_a_link_to_the_file(home: Home, tmp_path: Path) -> None:
    """When newsletter.toml is a symbolic link, the file that it leads to changes."""
    real = tmp_path / "real.toml"
    home.file.rename(real)
    home.file.symlink_to(real)
    home.run("secret", "rotate")
    assert home.file.is_symlink()
    assert "\nold_secret_keys" in real.read_text()


@pytest.mark.parametrize(
    "text",
    [
        f'secret_key = "{OLD}"',
        f"secret_key='{OLD}' # keep me\n",
        f'secret_key = "{OLD}" # keep me\r\nport = 1\r\n',
        f'old_secret_keys = ["{"a" * 40}"] # keep ] me\nsecret_key = "{OLD}"\n',
        f'secret_key = "{OLD}"\nold_secret_keys = []\n',
        f'old_secret_keys = [\n  "{"a" * 40}", # keep me\n  # keep ] me\n]\nsecret_key = "{OLD}"\n',
        f'old_secret_keys = [\n  "{"a" * 40}" # keep me\n]\nsecret_key = "{OLD}"\n',
        f'secret_key = """\\\n{OLD}"""\n# keep me\n',
        f'# old_secret_keys = [] keep me\nhost = "x"\nsecret_key = "{OLD}"\n',
    ],
)
def test_however_it_is_written(text: str) -> None:
    """Only the two values change, in every way that TOML has to write them; remarks stay."""
    before, after = tomllib.loads(text), tomllib.loads(rotated(text, NEW))
    assert after == {
        **before,
        "secret_key": NEW,
        "old_secret_keys": [*before.get("old_secret_keys", []), OLD],
    }
    assert rotated(text, NEW).count("keep") == text.count("keep")


def test_what_only_a_person_can_edit() -> None:
    """A key in quotes is TOML too; it is refused rather than guessed at."""
    with pytest.raises(ConfigError):
        rotated(f'"secret_key" = "{OLD}"\n', NEW)


@pytest.mark.parametrize("name", ["NEWSLETTER_SECRET_KEY", "NEWSLETTER_OLD_SECRET_KEYS"])
def test_keys_from_the_environment(home: Home, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Keys that are not in the file are not touched; it says what to do instead."""
    monkeypatch.setenv(name, "e" * 40)
    before = home.file.read_bytes()
    result = home.run("secret", "rotate", code=5)
    assert name in result.stderr
    assert home.file.read_bytes() == before
