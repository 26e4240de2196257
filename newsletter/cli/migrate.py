"""`newsletter migrate`: the database of an older version becomes this version's."""

from __future__ import annotations

import click
from alembic.util import CommandError

from newsletter.cli import installation, output
from newsletter.store import schema


@click.command()
@output.json_option
def migrate(*, as_json: bool) -> None:
    """Bring the database to the newest schema.

    An empty database gets its tables, and a consent log that was never signed the key to sign it
    with. The database is changed as a whole or not at all; make a backup first all the same, there
    is no way back to an older version without one.

    \b
    newsletter backup before.db && newsletter migrate
    """
    settings = installation.load_settings().settings
    with installation.unchecked(settings) as here:
        before = schema.revision(here.engine)
        try:
            schema.create(here.engine, here.hash_key, installation.now())
        except CommandError:
            # A newer version made it: the check says so better than Alembic does.
            schema.check_schema(here.engine)
            raise
        after = schema.revision(here.engine)
        key_folder = installation.make_key(here)
    if as_json:
        output.emit_json({"from": before, "to": after})
    elif before == after:
        click.echo(f"The database is at the newest schema already: {after}")
    else:
        click.echo(f"The database went from {before or 'empty'} to {after}")
    if key_folder is not None and not as_json:
        click.echo(f"Signing key: {key_folder}; back it up apart from the database")
