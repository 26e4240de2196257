"""Sections, a lead, an outro and a preheader of digests, and plans that compose them.

Revision: 0005; after: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "plan",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("publication_id", ROW_ID, nullable=False),
        sa.Column("schedule", sa.Text(), nullable=False),
        sa.Column("next_at", TIME, nullable=True),
        sa.Column("taken_until", TIME, nullable=True),
        sa.Column("begins_at", TIME, nullable=False),
        sa.Column("fewest", sa.Integer(), nullable=False),
        sa.Column("most", sa.Integer(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("length", sa.String(length=8), nullable=False),
        sa.Column("has_lead", sa.Boolean(), nullable=False),
        sa.Column("sections", sa.String(length=8), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("intro", sa.Text(), nullable=True),
        sa.Column("outro", sa.Text(), nullable=True),
        sa.Column("sends", sa.Boolean(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("done_at", TIME, nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["publication_id"], ["publication.id"], name=op.f("fk_plan_publication_id_publication")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plan")),
    )
    op.create_index(op.f("ix_plan_publication_id"), "plan", ["publication_id"])
    op.create_index(op.f("ix_plan_next_at"), "plan", ["next_at"])
    op.create_table(
        "plan_feed",
        sa.Column("plan_id", ROW_ID, nullable=False),
        sa.Column("feed_id", ROW_ID, nullable=False),
        sa.ForeignKeyConstraint(["plan_id"], ["plan.id"], name=op.f("fk_plan_feed_plan_id_plan")),
        sa.ForeignKeyConstraint(["feed_id"], ["feed.id"], name=op.f("fk_plan_feed_feed_id_feed")),
        sa.PrimaryKeyConstraint("plan_id", "feed_id", name=op.f("pk_plan_feed")),
    )
    op.create_index(op.f("ix_plan_feed_feed_id"), "plan_feed", ["feed_id"])
    with op.batch_alter_table("digest") as batch:
        batch.add_column(sa.Column("preheader", sa.Text(), nullable=True))
        batch.add_column(sa.Column("outro", sa.Text(), nullable=True))
        batch.add_column(sa.Column("plan_id", ROW_ID, nullable=True))
        batch.add_column(sa.Column("planned_for", TIME, nullable=True))
        batch.create_foreign_key(op.f("fk_digest_plan_id_plan"), "plan", ["plan_id"], ["id"])
        batch.create_unique_constraint(
            op.f("uq_digest_plan_id_planned_for"), ["plan_id", "planned_for"]
        )
    with op.batch_alter_table("digest_article") as batch:
        batch.add_column(sa.Column("section", sa.Text(), nullable=True))
        batch.add_column(sa.Column("length", sa.String(length=8), nullable=True))
        batch.add_column(
            sa.Column("is_lead", sa.Boolean(), server_default=sa.false(), nullable=False)
        )


def downgrade() -> None:
    with op.batch_alter_table("digest_article") as batch:
        for name in ("is_lead", "length", "section"):
            batch.drop_column(name)
    with op.batch_alter_table("digest") as batch:
        batch.drop_constraint(op.f("uq_digest_plan_id_planned_for"), type_="unique")
        batch.drop_constraint(op.f("fk_digest_plan_id_plan"), type_="foreignkey")
        for name in ("planned_for", "plan_id", "outro", "preheader"):
            batch.drop_column(name)
    op.drop_table("plan_feed")
    op.drop_table("plan")
