"""Runs the migrations on the connection that newsletter.store.schema hands over."""

from typing import Any, Literal

from alembic import context

from newsletter.store import Base, UTCDateTime


def render_item(kind: str, item: Any, _autogen: object) -> str | Literal[False]:
    """A migration names no code of ours: it must mean the same when that code has changed."""
    if kind == "type" and isinstance(item, UTCDateTime):
        return "sa.DateTime(timezone=True)"
    return False


# Batch mode: SQLite changes a table by making it anew.
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    render_item=render_item,
    compare_type=True,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
