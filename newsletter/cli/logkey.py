"""`newsletter consent key`, `rotate-key`, `checkpoint`: who signs the log, and what was signed."""

from __future__ import annotations

import base64

import click

from newsletter.cli import installation, output
from newsletter.cli.signing import signed
from newsletter.consent.checkpoint_format import Checkpoint
from newsletter.consent.keyring import Keyring
from newsletter.errors import LogFault, NotFound


@click.command()
@output.json_option
def key(*, as_json: bool) -> None:
    """Show the public half of the key that signs the log, as a C2SP vkey.

    Give it away: with it, anybody checks receipts and checkpoints without asking you. --json also
    has the keys from before each rotation, which older receipts are signed with.

    \b
    newsletter consent key
    newsletter consent verify-receipt ada.json --key "$(newsletter consent key)"
    """
    keys = [each.vkey for each in Keyring.of(installation.load_settings().settings).verifiers]
    if not keys:
        raise NotFound("There is no signing key yet: newsletter migrate makes one.")
    if as_json:
        output.emit_json({"key": keys[-1], "old_keys": keys[:-1]})
    else:
        click.echo(keys[-1])


@click.command("rotate-key")
@output.json_option
def rotate_key(*, as_json: bool) -> None:
    """Sign with a fresh key from now on; what the old one signed stays verifiable.

    Do it when the private key may have been seen by others, or was lost. The public half of the old
    key is still published, so receipts and checkpoints from before count as they did. Nothing needs
    a restart. With the setting consent_key, put another key there instead.

    \b
    newsletter consent rotate-key
    """
    with installation.opened() as here:
        fresh = Keyring.of(here.settings).rotate()
        try:
            # The newest checkpoint too, so that today's key alone is enough for today's receipts.
            signed(here)
        except LogFault as fault:
            click.echo(f"Note: nothing is signed with it yet. {fault}", err=True)
    if as_json:
        output.emit_json({"key": fresh.vkey})
    else:
        click.echo(fresh.vkey)


@click.command()
@output.json_option
def checkpoint(*, as_json: bool) -> None:
    """Sign the log as it is now, and show the signed checkpoint: a C2SP signed note.

    The worker does it by itself, as the setting checkpoint_every says, and before each digest. Exit
    code 4, and nothing is signed, when the log is not the one that was signed for before.

    \b
    newsletter consent checkpoint
    """
    with installation.opened() as here:
        note = signed(here)
    if note is None:
        raise NotFound("The log is empty: there is nothing to sign yet.")
    if as_json:
        found = Checkpoint.parse(note.partition("\n\n")[0] + "\n")
        root = base64.b64encode(found.root).decode()
        output.emit_json({"origin": found.origin, "size": found.size, "root": root, "note": note})
    else:
        click.echo(note, nl=False)
