"""Feeds, which articles each of them brought, and what an article from elsewhere has beside text.

Revision: 0004; after: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "feed",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("publication_id", ROW_ID, nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("site_url", sa.Text(), nullable=True),
        sa.Column("etag", sa.Text(), nullable=True),
        sa.Column("last_modified", sa.Text(), nullable=True),
        sa.Column("due_at", TIME, nullable=True),
        sa.Column("checked_at", TIME, nullable=True),
        sa.Column("changed_at", TIME, nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["publication_id"], ["publication.id"], name=op.f("fk_feed_publication_id_publication")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feed")),
        sa.UniqueConstraint("publication_id", "url", name=op.f("uq_feed_publication_id_url")),
    )
    op.create_index(op.f("ix_feed_due_at"), "feed", ["due_at"])
    with op.batch_alter_table("article") as batch:
        batch.add_column(
            sa.Column(
                "body_format",
                sa.String(length=8),
                server_default=sa.text("'markdown'"),
                nullable=False,
            )
        )
        batch.add_column(sa.Column("image_width", sa.Integer(), nullable=True))
        batch.add_column(sa.Column("image_height", sa.Integer(), nullable=True))
        batch.add_column(sa.Column("site", sa.Text(), nullable=True))
        batch.add_column(sa.Column("language", sa.String(length=35), nullable=True))
        batch.add_column(
            sa.Column(
                "origin", sa.String(length=8), server_default=sa.text("'file'"), nullable=False
            )
        )
        batch.add_column(sa.Column("feed_id", ROW_ID, nullable=True))
        batch.create_check_constraint(
            op.f("ck_article_body_format"), "body_format IN ('markdown', 'html')"
        )
        batch.create_check_constraint(
            op.f("ck_article_origin"), "origin IN ('file', 'page', 'feed')"
        )
        batch.create_foreign_key(op.f("fk_article_feed_id_feed"), "feed", ["feed_id"], ["id"])
        batch.create_index(op.f("ix_article_feed_id"), ["feed_id"])
    op.create_table(
        "feed_article",
        sa.Column("feed_id", ROW_ID, nullable=False),
        sa.Column("guid", sa.String(length=300), nullable=False),
        sa.Column("article_id", ROW_ID, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["article_id"], ["article.id"], name=op.f("fk_feed_article_article_id_article")
        ),
        sa.ForeignKeyConstraint(
            ["feed_id"], ["feed.id"], name=op.f("fk_feed_article_feed_id_feed")
        ),
        sa.PrimaryKeyConstraint("feed_id", "guid", name=op.f("pk_feed_article")),
    )
    op.create_index(op.f("ix_feed_article_article_id"), "feed_article", ["article_id"])


def downgrade() -> None:
    op.drop_table("feed_article")
    # Bodies of HTML stay: the older version takes them for Markdown, which may contain it.
    with op.batch_alter_table("article") as batch:
        batch.drop_index(op.f("ix_article_feed_id"))
        batch.drop_constraint(op.f("fk_article_feed_id_feed"), type_="foreignkey")
        batch.drop_constraint(op.f("ck_article_origin"), type_="check")
        batch.drop_constraint(op.f("ck_article_body_format"), type_="check")
        for name in (
            *("feed_id", "origin", "language", "site", "image_height", "image_width"),
            "body_format",
        ):
            batch.drop_column(name)
    op.drop_table("feed")
