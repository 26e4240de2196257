"""init, config and migrate: an installation is made, looked at and brought up to date."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from commandline import PUBLICATION, Home
from sqlalchemy import text

from newsletter import store
from newsletter.cli import main
from newsletter.consent import Keyring, checkpoint
from newsletter.store.schema import newest


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_init_makes_private_files(home: Home) -> None:
    """The settings and the database are there, and only their owner can read them."""
    assert mode(home.file) == 0o600
    assert mode(home.database) == 0o600
    assert "secret_key" in home.file.read_text()
    home.run("status")


def test_init_never_overwrites(home: Home) -> None:
    """A second init changes nothing and says so."""
    before = home.file.read_bytes(), home.database.read_bytes()
    result = CliRunner().invoke(main, ["init", str(home.folder)])
    assert result.exit_code == 1
    assert "nothing was changed" in result.stderr
    assert (home.file.read_bytes(), home.database.read_bytes()) == before


def test_init_makes_the_signing_key(tmp_path: Path) -> None:
    """Beside the settings, named after the public address, and only its owner can read it."""
    words = ["init", str(tmp_path), "--base-url", "https://example.org/letters"]
    said = CliRunner().invoke(main, words)
    assert said.exit_code == 0
    folder = tmp_path / "consent"
    assert f"Signing key: {folder}" in said.output
    assert mode(folder) == 0o700
    assert {mode(file) for file in folder.iterdir()} == {0o600}
    assert Keyring(folder).signer.name == "example.org/letters/consent-log"
    assert (folder / "key").read_text().strip() not in said.output


def test_migrate_makes_the_key_of_a_log_that_was_never_signed(home: Home) -> None:
    """An installation of an older version gets one. Where the log was signed, a missing key is one
    that was lost, and no other one takes its place.
    """
    folder = home.folder / "consent"
    shutil.rmtree(folder)
    assert "Signing key" in home.run("migrate").output
    before = (folder / "key").read_bytes()
    home.publish()
    home.bring_in("ada@example.net")
    engine = store.connect(f"sqlite:///{home.database}")
    with store.transaction(engine) as session:
        checkpoint.sign(session, Keyring(folder), now=datetime.now(UTC))
    engine.dispose()
    assert "Signing key" not in home.run("migrate").output
    assert (folder / "key").read_bytes() == before
    (folder / "key").unlink()
    assert "Signing key" not in home.run("migrate").output
    assert not (folder / "key").exists()


def test_init_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without DIR it is the working directory, and later commands find it there."""
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(main, ["init"]).exit_code == 0
    assert (tmp_path / "newsletter.toml").exists()
    assert CliRunner().invoke(main, ["publication", "list"]).exit_code == 0


@pytest.mark.parametrize(
    ("words", "smtp_url", "told"),
    [
        ([], None, "set base_url and smtp_url in the settings, then "),
        (["--base-url", "https://example.org"], None, "set smtp_url in the settings, then "),
        (["--base-url", "http://127.0.0.1:8000"], None, "set smtp_url in the settings, then "),
        ([], "smtp://localhost", "set base_url in the settings, then "),
        (["--base-url", "https://example.org"], "smtp://localhost", ""),
    ],
)
def test_init_asks_for_what_is_missing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    smtp_url: str | None,
    told: str,
) -> None:
    """What was given, in words or by a variable, is not asked for again."""
    if smtp_url:
        monkeypatch.setenv("NEWSLETTER_SMTP_URL", smtp_url)
    result = CliRunner().invoke(main, ["init", str(tmp_path), *words])
    assert result.stdout.splitlines()[-1] == f"Next: {told}newsletter publication create"


def test_init_with_a_bad_base_url(tmp_path: Path) -> None:
    """A wrong value leaves nothing behind that the next try would stumble over."""
    result = CliRunner().invoke(main, ["init", str(tmp_path), "--base-url", "news"])
    assert result.exit_code == 5
    assert not (tmp_path / "newsletter.toml").exists()
    assert CliRunner().invoke(main, ["init", str(tmp_path)]).exit_code == 0


def test_init_beside_a_database_of_another_key(home: Home) -> None:
    """Settings that do not fit the database that is there are not left behind."""
    kept, before = home.file.read_text(), home.database.read_bytes()
    home.file.unlink()
    result = CliRunner().invoke(main, ["init", str(home.folder)])
    assert result.exit_code == 6
    assert "hash_key" in result.stderr
    assert not home.file.exists()
    assert home.database.read_bytes() == before
    home.file.write_text(kept)
    home.run("status")


def test_config_check_tells_every_fault(home: Home) -> None:
    """All faults at once, each with its cure, and exit code 5."""
    home.set(smtp_url="mail.example.org", confirm_dayz=3, limit_storage="reddis://host")
    result = home.run("config", "check", code=5)
    assert "limit_storage" in result.stderr
    assert "smtp_url" in result.stderr
    assert "did you mean confirm_days" in result.stderr
    found = home.json("config", "check", code=5)
    assert found["ok"] is False
    assert len(found["faults"]) == 3


def test_config_check_warns(home: Home) -> None:
    """What can be used but is rarely meant is a note, not a fault."""
    home.file.chmod(0o644)
    found = home.json("config", "check")
    assert found["ok"] is True
    assert any("others can read it" in each for each in found["warnings"])
    assert any("smtp_url" in each for each in found["warnings"])


def test_config_show_hides_secrets(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each value with its origin; of secrets only that they are set."""
    secret = "p4ss/w@rd?".replace("/", "%2F").replace("@", "%40").replace("?", "%3F")
    home.set(smtp_url=f"smtp+starttls://user:{secret}@relay.example.org:587")
    monkeypatch.setenv("NEWSLETTER_CONFIRM_DAYS", "3")
    shown = home.run("config", "show").output + home.run("config", "show", "--json").output
    settings = home.file.read_text()
    for line in settings.splitlines():
        name, _, value = line.partition(" = ")
        if name in ("secret_key", "hash_key"):
            assert value.strip('"') not in shown
    assert secret not in shown
    assert "relay.example.org" in shown
    rows = {row["name"]: row for row in home.json("config", "show")}
    assert rows["confirm_days"] == {
        "name": "confirm_days",
        "value": 3,
        "origin": "NEWSLETTER_CONFIRM_DAYS",
    }
    assert rows["base_url"]["origin"] == str(home.file)
    assert rows["threads"]["origin"] == "default"


def test_wrong_settings_stop_every_command(home: Home) -> None:
    """Exit code 5, on standard error, before anything else is done."""
    home.set(nonsense=1)
    result = home.run("status", code=5)
    assert "nonsense" in result.stderr
    assert result.stdout == ""


def test_no_settings_at_all(tmp_path: Path) -> None:
    """Where nothing is set up, the cure is named."""
    result = CliRunner().invoke(main, ["status"])
    assert result.exit_code == 5
    assert "newsletter init" in result.stderr


# Every command that uses the database, with what it takes to run.
USING = {
    "serve": "--port 0",
    "worker": "",
    "publication create": "",  # see words_of: a title has blanks
    "publication list": "",
    "publication show": "field-notes",
    "publication edit": "field-notes --title X",
    "subscriber list": "",
    "subscriber show": "ada@example.net",
    "subscriber unsubscribe": "ada@example.net --yes",
    "subscriber erase": "ada@example.net --yes",
    "subscriber unblock": "ada@example.net --note x",
    "subscriber import": "people.csv --publication field-notes --status pending --evidence x",
    "subscriber export": "",
    "article add": "a.md",
    "article list": "",
    "article show": "1",
    "article remove": "1",
    "feed add": "http://127.0.0.1:1/ --publication field-notes",
    "feed fetch": "",
    "feed list": "",
    "feed remove": "1",
    "digest new": "--publication field-notes --subject X 1",
    "digest edit": "1 --subject X",
    "digest list": "",
    "digest show": "1",
    "digest check": "1",
    "digest preview": "1",
    "digest test": "1 --to me@example.org",
    "digest approve": "1",
    "digest cancel": "1",
    "plan add": "--publication field-notes --when daily,07:00",
    "plan list": "",
    "plan edit": "1 --off",
    "plan remove": "1",
    "plan run": "1",
    "send": "1",
    "pause": "1",
    "resume": "1",
    "status": "",
    "deliveries": "1",
    "retry": "1 --failed",
    "consent log": "",
    "consent verify": "",
    "consent checkpoint": "",
    "consent prove": "ada@example.net --out proof.json",
    "recover": "--yes",
    "tidy": "",
}
# Those that make, mend or copy the database, or do without it.
OTHERS = {
    "init",
    "migrate",
    "backup",
    "config check",
    "config show",
    "secret rotate",
    "demo",
    "dkim new",
    "dkim list",
    "dkim show",
    "consent key",
    "consent rotate-key",
    "consent check-witness",
    "consent verify-receipt",
}


def leaves(group: click.Group, path: str = "") -> Iterator[str]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from leaves(command, f"{path}{name} ")
        else:
            yield f"{path}{name}"


def test_every_command_is_looked_at() -> None:
    """A new command says here whether it uses the database."""
    assert set(leaves(main)) == set(USING) | OTHERS


@pytest.fixture
def set_up(home: Home, tmp_path: Path) -> Home:
    """What the commands of USING name is there, in the working directory; and a relay."""
    home.set(smtp_url="smtp://127.0.0.1:1")
    (tmp_path / "people.csv").write_text("email\nada@example.net\n")
    (tmp_path / "a.md").write_text("# A\n\nText.\n")
    return home


def words_of(command: str) -> list[str]:
    more = PUBLICATION if command == "publication create" else USING[command].split()
    return [*command.split(), *more]


@pytest.mark.parametrize("command", USING)
def test_a_database_of_another_shape(set_up: Home, command: str) -> None:
    """Every command refuses it with exit code 6 and says what to do."""
    engine = store.connect(f"sqlite:///{set_up.database}")
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'future'"))
    engine.dispose()
    before = set_up.database.read_bytes()
    result = set_up.run(*words_of(command), code=6)
    assert "newer version" in result.stderr
    assert set_up.run("migrate", code=6).exit_code == 6
    assert set_up.database.read_bytes() == before


@pytest.mark.parametrize("command", USING)
def test_an_empty_database(set_up: Home, command: str) -> None:
    """Every command refuses it with exit code 6 and names the cure; so it does a missing one."""
    for old in set_up.folder.glob("newsletter.db*"):
        old.unlink()
    assert "newsletter migrate" in set_up.run(*words_of(command), code=6).stderr
    assert not set_up.database.exists()
    set_up.database.touch(0o600)
    assert "newsletter migrate" in set_up.run(*words_of(command), code=6).stderr


def test_a_backup_of_a_database_of_another_shape(home: Home, tmp_path: Path) -> None:
    """It is what one makes before migrating."""
    with closing(sqlite3.connect(home.database)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'past'")
        connection.commit()
    home.run("backup", tmp_path / "copy.db")


def test_migrate_makes_a_missing_database(home: Home) -> None:
    """A missing database is not made by accident, only by migrate; the second time changes none."""
    home.database.unlink()
    result = home.run("status", code=6)
    assert "newsletter migrate" in result.stderr
    assert not home.database.exists()
    assert home.json("migrate") == {"from": None, "to": newest()}
    assert mode(home.database) == 0o600
    assert home.json("migrate") == {"from": newest(), "to": newest()}
    home.run("status")


def test_another_hash_key(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another hash key, blocked people would be unknown: refused."""
    monkeypatch.setenv("NEWSLETTER_HASH_KEY", "x" * 40)
    result = home.run("subscriber", "list", code=6)
    assert "hash_key" in result.stderr


def test_a_file_that_is_no_database(home: Home) -> None:
    """A broken file is a message, not a traceback."""
    home.database.write_bytes(b"no database" * 1000)
    result = home.run("status", code=1)
    assert result.stderr.startswith("Error: The database cannot be used")


def test_a_database_out_of_reach(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not answer is a message, without the password."""
    monkeypatch.setenv(
        "NEWSLETTER_DATABASE_URL", "postgresql://me:hidden-word@127.0.0.1:1/x?connect_timeout=2"
    )
    result = home.run("status", code=1)
    assert result.stderr.startswith("Error: The database cannot be used")
    assert "hidden-word" not in result.output


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_on_postgresql(
    home: Home, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands work on PostgreSQL as they do on SQLite."""
    monkeypatch.setenv("NEWSLETTER_DATABASE_URL", empty_database_url)
    assert home.run("status", code=6)
    assert home.json("migrate")["from"] is None
    home.publish()
    home.bring_in("ada@example.net")
    home.run("subscriber", "erase", "ada@example.net", "--yes")
    assert home.json("consent", "verify")["erased"] == 1


def test_init_where_config_says(tmp_path: Path) -> None:
    """--config names the new file too; naming the place twice is a usage error."""
    file = tmp_path / "etc" / "letters.toml"
    words = ["--config", str(file), "init"]
    assert CliRunner().invoke(main, [*words, str(tmp_path)]).exit_code == 2
    assert CliRunner().invoke(main, words).exit_code == 0
    assert file.exists()
    assert (tmp_path / "etc" / "newsletter.db").exists()
