"""`newsletter consent prove` and `verify-receipt`: the proof of one person's consent."""

from __future__ import annotations

from pathlib import Path

import click

from newsletter import consent, store
from newsletter.addresses import parse
from newsletter.cli import installation
from newsletter.cli.files import replaced
from newsletter.errors import BadInput, NotFound
from newsletter.store.find import subscriber_by_key
from newsletter.subscriptions import publications

_file = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("address")
@click.option("--publication", "slug", metavar="SLUG", help="Only the events of this publication.")
@click.option(
    "--out", type=_file, metavar="FILE", required=True, help="Where to write the receipt (JSON)."
)
@click.option(
    "--html", "as_page", is_flag=True, help="Write it for people too, beside it: FILE as .html."
)
def prove(*, address: str, slug: str | None, out: Path, as_page: bool) -> None:
    """Write the proof of what ADDRESS declared and withdrew.

    One file, readable by you only: each event in clear, what opens it, its place in the log, and
    the signed checkpoint. It proves without us, also after the person was erased here.

    \b
    newsletter consent prove ada@example.net --out ada.json --html
    """
    from newsletter.consent import receipt  # noqa: PLC0415  # templates, which `log` does not need

    if out.suffix.lower() in (".html", ".htm"):
        raise BadInput("--out names the JSON file; --html writes the page beside it.", "out")
    with installation.opened() as here, store.transaction(here.engine) as session:
        subscriber = subscriber_by_key(session, parse(address).key)
        if subscriber is None:
            raise NotFound("No subscriber has this address.")
        wanted = publications.find(session, slug) if slug else None
        keyring = consent.Keyring.of(here.settings)
        made = receipt.build(session, keyring, subscriber, wanted, now=installation.now())
        page = receipt.html(made, subscriber.language) if as_page else None
        vkey = keyring.signer.verifier.vkey
    _write(out, receipt.written(made))
    click.echo(f"{len(made['newsletter']['events'])} events are proven in {out}")
    if page is not None:
        beside = out.with_suffix(".html")
        _write(beside, page.encode())
        click.echo(f"To read and print: {beside}")
    click.echo(f"Check it with: newsletter consent verify-receipt {out} --key {vkey}")


@click.command("verify-receipt")
@click.argument("file", type=_file)
@click.option(
    "--key",
    "vkeys",
    multiple=True,
    required=True,
    metavar="VKEY",
    help="A public key of the log; may be given several times.",
)
@click.pass_context
def verify_receipt(ctx: click.Context, *, file: Path, vkeys: tuple[str, ...]) -> None:
    """Check a receipt: what was agreed to, or the check that failed.

    Needs no installation and no network; the same as `python verify_receipt.py`. Exit code 1 when
    the receipt does not verify.

    \b
    newsletter consent verify-receipt ada.json --key news.example.org/consent-log+1a2b3c4d+A...
    """
    from newsletter.consent.receipt import verify_receipt as program  # noqa: PLC0415

    keys = [f"--key={vkey}" for vkey in vkeys]
    ctx.exit(program.main([*keys, "--", str(file)]))


def _write(file: Path, content: bytes) -> None:
    with replaced(file) as draft:
        draft.write_bytes(content)
