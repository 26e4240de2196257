"""`newsletter init`: a settings file, a database and a signing key, where there were none."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.core import ParameterSource

from newsletter import config, store
from newsletter.cli import installation
from newsletter.cli.group import Choice
from newsletter.errors import NewsletterError

_HERE = "http://127.0.0.1:8000"


class AlreadyThere(NewsletterError):
    """There is an installation in this place; nothing was changed."""


@click.command()
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--base-url",
    default=_HERE,
    show_default=True,
    metavar="URL",
    help="The public address of the service; every link in every mail starts with it.",
)
@click.pass_context
def init(ctx: click.Context, *, folder: Path | None, base_url: str) -> None:
    """Make newsletter.toml with fresh secrets, the database, and the key of the consent log.

    The settings file explains every setting and can be read only by you. What is there already is
    never overwritten.

    \b
    newsletter init
    newsletter init /srv/newsletter --base-url https://news.example.org
    """
    choice = ctx.find_object(Choice)
    named = choice.config_file if choice else None
    if named is not None and folder is not None:
        raise click.UsageError("Name the place once: with --config or with DIR.")
    file = named or (folder or Path()) / config.DEFAULT_FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    _write_new(file, config.template(base_url))
    try:
        settings = config.load(file).settings
        key_folder = _make_database(settings)
    except BaseException:
        # A wrong --base-url or variable, a database that is another installation's, Ctrl-C: the
        # file's secrets fit nothing, and trying again must not meet a half-made installation.
        file.unlink()
        raise
    click.echo(f"Settings: {file}")
    click.echo(f"Database: {_place(settings)}")
    if key_folder is not None:
        click.echo(f"Signing key: {key_folder}; back it up apart from the database")
    is_given = ctx.get_parameter_source("base_url") == ParameterSource.COMMANDLINE
    missing = [] if is_given or settings.base_url != _HERE else ["base_url"]
    missing += [] if settings.smtp_url else ["smtp_url"]
    told = f"set {' and '.join(missing)} in the settings, then " if missing else ""
    click.echo(f"Next: {told}newsletter publication create")


def _write_new(file: Path, text: str) -> None:
    try:
        number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise AlreadyThere(
            f"{file} exists; nothing was changed. If only the database is missing: "
            f"newsletter --config {file} migrate"
        ) from error
    with os.fdopen(number, "w", encoding="utf-8") as opened:
        opened.write(text)


def _make_database(settings: config.Settings) -> Path | None:
    """The tables and the signing key; returns the folder that a key was made in."""
    with installation.unchecked(settings) as here:
        store.create(here.engine, here.hash_key, installation.now())
        return installation.make_key(here)


def _place(settings: config.Settings) -> str:
    return str(installation.sqlite_file(settings) or "PostgreSQL, as database_url says")
