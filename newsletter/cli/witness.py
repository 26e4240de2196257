"""`newsletter consent check-witness`: a digest in a mailbox, held against the log of today."""

from __future__ import annotations

import base64
from pathlib import Path

import click

from newsletter import fetch
from newsletter.cli import output
from newsletter.consent import witness
from newsletter.consent.checkpoint_format import Checkpoint
from newsletter.errors import BadInput, ConsentLogError

_MAX_MAIL = 50_000_000
# Keys and checkpoints are a few lines, a tile has at most 8,192 bytes.
_MAX_ANSWER = 100_000


@click.command("check-witness")
@click.argument("mail", metavar="MAIL.eml", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--url",
    metavar="BASE",
    help="Where the service is, such as https://news.example.org; without it, where the mail says.",
)
@output.json_option
@click.pass_context
def check_witness(ctx: click.Context, *, mail: Path, url: str | None, as_json: bool) -> None:
    """Prove that the log of today holds, unchanged, all that it held when this digest was approved.

    MAIL.eml is a digest saved with all its headers. Everything else comes from what the service
    publishes under /.well-known/consent-log/, and is believed only as far as it is proven: neither
    settings nor a database are needed. Exit code 4 when the log was changed, shortened or replaced.

    \b
    newsletter consent check-witness digest.eml
    newsletter consent check-witness digest.eml --url http://127.0.0.1:8000 --json
    """
    try:
        note = witness.note_in(_read(mail))
        # A mail can name any host; what a person typed may also be on their own network.
        base = (url or witness.service_of(note)).rstrip("/")
        found = witness.check(note, lambda path: _published(base, path, is_typed=url is not None))
    except ConsentLogError as error:
        if not as_json:
            raise
        output.emit_json({"ok": False, "fault": str(error)})
        ctx.exit(error.exit_code)
    if as_json:
        output.emit_json(
            {"ok": True, "url": base, "mail": _record(found.then), "log": _record(found.today)}
        )
        return
    click.echo(
        f"The log of today ({found.today.size} events) extends the one in the mail "
        f"({found.then.size} events): none of those was changed, taken out or moved."
    )
    if found.today.origin != found.then.origin:
        click.echo(f"It was begun anew by a recovery, as {output.clean(found.today.origin)}.")


def _read(mail: Path) -> bytes:
    if mail.stat().st_size > _MAX_MAIL:
        raise BadInput(f"{mail} is too large to be a mail.")
    return mail.read_bytes()


def _published(base: str, path: str, *, is_typed: bool) -> bytes:
    address = f"{base}/.well-known/consent-log/{path}"
    try:
        return fetch.get(address, limit=_MAX_ANSWER, allow_private=is_typed).body
    except fetch.FetchError as error:
        if error.status == fetch.NOT_FOUND and "tile/" in path:
            raise ConsentLogError(
                f"{address} is missing, though the checkpoint of today covers it."
            ) from error
        raise


def _record(checkpoint: Checkpoint) -> dict[str, object]:
    root = base64.b64encode(checkpoint.root).decode()
    return {"origin": checkpoint.origin, "size": checkpoint.size, "root": root}
