"""`newsletter digest test`: a digest to one address of yours, through the real sender."""

from __future__ import annotations

import click

from newsletter import logs, store
from newsletter.addresses import parse
from newsletter.cli import installation, output
from newsletter.cli.group import NOT_DELIVERED
from newsletter.cli.naming import digest_argument, find
from newsletter.cli.signing import signed
from newsletter.digests.approve import frozen_now
from newsletter.mail.transport import RelayProblem
from newsletter.sending import queue
from newsletter.store import Delivery, DeliveryState
from newsletter.worker import Sender, smtp_pool, stop_on_signals


@click.command()
@digest_argument
@click.option("--to", "address", required=True, metavar="ADDRESS", help="Who gets the test mail.")
@output.json_option
@click.pass_context
def test(ctx: click.Context, *, digest_id: int, address: str, as_json: bool) -> None:
    """Mail a digest to ADDRESS with a marked subject, at once. It counts for nothing.

    Its links lead to pages that do nothing. A draft goes out as it is now. Exit code 3 when the
    relay did not take it.

    \b
    newsletter digest test 7 --to me@example.org
    """
    to = parse(address)
    with installation.opened() as here:
        logs.configure_beside_a_person(here.settings.log_level)
        pool = smtp_pool(here.settings)
        note = signed(here)
        with store.transaction(here.engine) as session:
            digest = find(session, digest_id)
            base_url = here.settings.base_url
            frozen = digest.frozen or frozen_now(
                session,
                digest,
                base_url=base_url,
                checkpoint=note,
                templates_folder=here.settings.templates_folder,
            )
            made = queue.test(session, digest, to, installation.now(), frozen=frozen)
        try:
            with stop_on_signals() as stop:
                sender = Sender(here.engine, here.settings, pool)
                sender.run(stop, until_idle=True, digests=False)
        except RelayProblem as error:
            click.echo(f"The relay does not take mail: {output.clean(str(error))}", err=True)
        with store.reading(here.engine) as session:
            delivery = session.get_one(Delivery, made.id)
    if as_json:
        output.emit_json(
            {
                "digest": digest_id,
                "to": to.spelling,
                "state": delivery.state,
                "code": delivery.reply_code,
                "reply": delivery.reply_text,
            }
        )
    else:
        click.echo(f"The test mail to {output.clean(to.spelling)} is {_said(delivery)}")
    if delivery.state != DeliveryState.ACCEPTED:
        ctx.exit(NOT_DELIVERED)


def _said(delivery: Delivery) -> str:
    if delivery.reply_code is None:
        return delivery.state
    return f"{delivery.state}: {delivery.reply_code} {output.clean(delivery.reply_text or '')}"
