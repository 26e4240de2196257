"""What a publication's letters look like: theme, fonts and logo.

Revision: 0006; after: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("publication") as batch:
        batch.add_column(
            sa.Column(
                "theme", sa.String(length=32), server_default=sa.text("'plain'"), nullable=False
            )
        )
        batch.add_column(sa.Column("heading_font", sa.String(length=32), nullable=True))
        batch.add_column(sa.Column("text_font", sa.String(length=32), nullable=True))
        batch.add_column(sa.Column("logo_url", sa.Text(), nullable=True))
        batch.add_column(sa.Column("logo_alt", sa.String(length=200), nullable=True))
        batch.add_column(sa.Column("logo_width", sa.Integer(), nullable=True))
        batch.add_column(sa.Column("logo_height", sa.Integer(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("publication") as batch:
        for name in (
            *("logo_height", "logo_width", "logo_alt", "logo_url"),
            *("text_font", "heading_font", "theme"),
        ):
            batch.drop_column(name)
