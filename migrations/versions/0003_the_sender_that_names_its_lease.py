"""Leases are the workers', no longer the rows'; why a digest was paused, and what was retried.

Before you deploy: stop the service, so that nobody sends by the older rules meanwhile. What a
worker held then is taken back by the first new one: its owner has no lease. SQLite writes each
delivery once more, PostgreSQL reads each once; a million of them take some seconds.

Revision: 0003; after: 0002
"""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
# Any moment long ago: the older rules ask for one, or nobody would ever take these rows back.
LONG_OVER = datetime(2000, 1, 1, tzinfo=UTC)


def upgrade() -> None:
    op.drop_index(op.f("ix_delivery_message_id"), table_name="delivery")
    op.drop_index("ix_delivery_digest_id_state", table_name="delivery")
    # SQLite can drop a column by itself since 3.35. A batch would make the whole table anew, and
    # lose the CHECK constraints that it cannot read back.
    op.drop_column("delivery", "lease_until")
    op.add_column("delivery", sa.Column("retried_at", TIME, nullable=True))
    op.create_index(
        "ix_delivery_digest_id_state", "delivery", ["digest_id", "state", "due_at", "id"]
    )
    for column in (
        sa.Column("place", sa.String(length=255), server_default=sa.text("''"), nullable=False),
        sa.Column("lease_clock", sa.String(length=64), nullable=True),
        sa.Column("lease_until", sa.Double(), nullable=True),
    ):
        op.add_column("worker", column)
    op.add_column("digest", sa.Column("pause_reason", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("digest", "pause_reason")
    for name in ("lease_until", "lease_clock", "place"):
        op.drop_column("worker", name)
    op.drop_index("ix_delivery_digest_id_state", table_name="delivery")
    op.drop_column("delivery", "retried_at")
    op.add_column("delivery", sa.Column("lease_until", TIME, nullable=True))
    delivery = sa.table("delivery", sa.column("owner", sa.String()), sa.column("lease_until", TIME))
    op.execute(delivery.update().where(delivery.c.owner.is_not(None)).values(lease_until=LONG_OVER))
    op.create_index("ix_delivery_digest_id_state", "delivery", ["digest_id", "state", "id"])
    op.create_index(op.f("ix_delivery_message_id"), "delivery", ["message_id"])
