"""`newsletter dkim`: the keys that mails are signed with, and what the DNS has to say of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from newsletter.cli import output
from newsletter.cli.group import NounGroup
from newsletter.cli.installation import load_settings
from newsletter.errors import ConfigError, NotFound
from newsletter.mail import dkim_key
from newsletter.mail.dkim_key import Algorithm, Key

_BITS = 2048


@click.group(cls=NounGroup)
def dkim() -> None:
    """Sign the mails (DKIM): make keys, and show what to publish in the DNS."""


@dkim.command()
@click.argument("selector", metavar="SELECTOR")
@click.option(
    "--domain",
    required=True,
    metavar="DOMAIN",
    help="The domain of the publications' From addresses, or one above it.",
)
@click.option(
    "--algorithm",
    type=click.Choice(["rsa", "ed25519"]),
    default="rsa",
    show_default=True,
    help="Everybody verifies rsa; use ed25519 only beside it.",
)
@click.option(
    "--bits",
    type=click.Choice(["2048", "3072", "4096"]),
    help=f"The size of an RSA key, {_BITS} unless given; 4096 signs seven times slower.",
)
@output.json_option
def new(
    *, selector: str, domain: str, algorithm: Algorithm, bits: str | None, as_json: bool
) -> None:
    """Make a key and show the DNS record that belongs to it.

    SELECTOR is any name that the domain has no key under yet: with several, one can be replaced
    while the mails signed with the other one are still on their way. The key lies in dkim_folder,
    readable only by you; what is there is never overwritten. Nothing is signed with it before its
    name stands in dkim_keys.

    \b
    newsletter dkim new s1 --domain example.org
    newsletter dkim new s2 --domain example.org --algorithm ed25519
    """
    if bits and algorithm != "rsa":
        raise click.UsageError("--bits is for RSA keys: an Ed25519 key has one size.")
    made = Key.fresh(selector, domain, algorithm, int(bits or _BITS))
    file = made.save(_folder())
    if as_json:
        output.emit_json(_record(made, file))
        return
    click.echo(f"Key: {file}\n")
    _tell(made)
    click.echo("\nWhen it can be looked up, put its name into dkim_keys and restart the workers:")
    click.echo(made.name)


@dkim.command("list")
@output.json_option
def list_keys(*, as_json: bool) -> None:
    """List the keys: those in dkim_folder, and those that the settings name.

    \b
    newsletter dkim list
    """
    settings = load_settings().settings
    folder = Path(settings.dkim_folder)
    signing = [name.lower() for name in settings.dkim_keys]
    names = dict.fromkeys([*signing, *dkim_key.names_in(folder)])
    rows = [_row(folder, name, signs=name in signing) for name in names]
    output.emit_table(
        rows,
        ["name", "algorithm", "bits", "signs", "problem"],
        as_json=as_json,
        nothing="There are no keys; newsletter dkim new makes one.",
    )


@dkim.command()
@click.argument("name", metavar="NAME")
@output.json_option
def show(*, name: str, as_json: bool) -> None:
    """Show the DNS record of a key again.

    \b
    newsletter dkim show s1._domainkey.example.org
    """
    folder = _folder()
    if name.lower() not in dkim_key.names_in(folder):
        raise NotFound(
            f"There is no key called {name} in {folder}; newsletter dkim list shows those that "
            "there are."
        )
    found = dkim_key.read(folder, name)
    if as_json:
        output.emit_json(_record(found, dkim_key.file_of(folder, found.name)))
    else:
        _tell(found)


def _folder() -> Path:
    return Path(load_settings().settings.dkim_folder)


def _tell(key: Key) -> None:
    click.echo(f"Publish this TXT record as {key.name}:\n\n{key.record}\n")
    click.echo(f"The same as a line of a zone file:\n\n{key.zone_line}")


def _record(key: Key, file: Path) -> dict[str, Any]:
    return {
        "name": key.name,
        "algorithm": key.algorithm,
        "bits": key.bits,
        "file": str(file),
        "record": key.record,
        "strings": key.strings,
        "zone_line": key.zone_line,
    }


def _row(folder: Path, name: str, *, signs: bool) -> dict[str, Any]:
    row = {"name": name, "algorithm": None, "bits": None, "signs": signs, "problem": None}
    try:
        key = dkim_key.read(folder, name)
    except ConfigError as error:
        return {**row, "problem": " ".join(error.faults)}
    return {**row, "name": key.name, "algorithm": key.algorithm, "bits": key.bits}
