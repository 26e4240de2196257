"""${message}

Before you deploy: a migration runs while the service may be up. Add columns with a default or as
nullable, backfill in pieces, and take columns away only a version later.

Revision: ${up_revision}; after: ${down_revision}
"""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
