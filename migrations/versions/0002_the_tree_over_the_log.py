"""The tree over the consent log, its checkpoints, and what the gate of each mail reads.

Before you deploy: stop the service. Each event is read once, to make its leaf and to say which
state it led to; a million of them take some minutes.

Revision: 0002; after: 0001
"""

import hashlib
import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
PIECE = 1000
WIDTH = 256
ENDS = {
    "withdrawn": "unsubscribed",
    "blocked": "unsubscribed",
    "bounced": "bounced",
    "complained": "complained",
}
ALIVE = ("pending", "confirmed")


def upgrade() -> None:
    op.create_table(
        "consent_tile",
        sa.Column("log", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("level", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", NUMBER, autoincrement=False, nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("log", "level", "number", name=op.f("pk_consent_tile")),
    )
    op.create_table(
        "consent_checkpoint",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("log", sa.Integer(), nullable=False),
        sa.Column("size", NUMBER, nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("signed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consent_checkpoint")),
        sa.UniqueConstraint("log", "size", name=op.f("uq_consent_checkpoint_log_size")),
    )
    op.create_table(
        "ledger_entry",
        sa.Column("id", NUMBER, autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("mailbox_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("publication", sa.String(length=64), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "kind IN ('erased', 'withdrawn', 'blocked')", name=op.f("ck_ledger_entry_kind")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_entry")),
    )
    for column in (
        sa.Column("log_number", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("recovery_position", NUMBER, nullable=True),
        sa.Column("log_fault", sa.Text(), nullable=True),
        sa.Column("verified_size", NUMBER, server_default=sa.text("0"), nullable=False),
        sa.Column("uncleaned_since", sa.DateTime(timezone=True), nullable=True),
    ):
        op.add_column("installation", column)
    op.add_column(
        "subscription", sa.Column("reminded_at", sa.DateTime(timezone=True), nullable=True)
    )
    with op.batch_alter_table("consent_event", schema=None) as batch_op:
        batch_op.add_column(sa.Column("subscription_id", NUMBER, nullable=True))
        batch_op.add_column(sa.Column("state", sa.String(length=16), nullable=True))
        batch_op.create_foreign_key(
            batch_op.f("fk_consent_event_subscription_id_subscription"),
            "subscription",
            ["subscription_id"],
            ["id"],
        )
        batch_op.create_check_constraint(
            batch_op.f("ck_consent_event_state"),
            "state IN ('pending', 'confirmed', 'unsubscribed', 'bounced', 'complained')",
        )
    with op.batch_alter_table("consent_event", schema=None) as batch_op:
        batch_op.create_index(
            "ix_consent_event_subscription_id", ["subscription_id", "position"], unique=False
        )
    backfill(op.get_bind())


def backfill(connection: sa.Connection) -> None:
    """The tiles over the events that there are, and the state that each of them led to."""
    event = sa.table(
        "consent_event",
        sa.column("position", NUMBER),
        sa.column("commitment", sa.LargeBinary()),
        sa.column("body", sa.LargeBinary()),
        sa.column("subscription_id", NUMBER),
        sa.column("state", sa.String()),
    )
    subscription = sa.table("subscription", sa.column("id"), sa.column("public_id"))
    ids = {row.public_id: row.id for row in connection.execute(sa.select(subscription))}
    states: dict[str, str] = {}
    levels: list[list[bytes]] = []  # of each level of tiles, the hashes that fill no tile yet
    numbers: list[int] = []  # and the number of the tile that they are for
    change = (
        event.update()
        .where(event.c.position == sa.bindparam("at"))
        .values(subscription_id=sa.bindparam("who"), state=sa.bindparam("what"))
    )
    after = -1
    while piece := connection.execute(
        sa.select(event.c.position, event.c.commitment, event.c.body)
        .where(event.c.position > after)
        .order_by(event.c.position)
        .limit(PIECE)
    ).all():
        changes = []
        for row in piece:
            after = row.position
            name, state = moved(row.body, states)
            if name in ids:
                changes.append({"at": row.position, "who": ids[name], "what": state})
            leaf = hashlib.sha256(b"\x00consentlog/v1\x00" + row.commitment).digest()
            add(connection, levels, numbers, leaf)
        if changes:
            connection.execute(change, changes)
    for level, hashes in enumerate(levels):
        if hashes:
            write(connection, level, numbers[level], hashes)


def moved(body: bytes | None, states: dict[str, str]) -> tuple[str | None, str | None]:
    """Whose subscription an event is about, and the state that it changed to, if it did."""
    try:
        fields = json.loads(body) if body else {}
        name, kind = fields.get("subscription"), fields.get("type")
    except (ValueError, AttributeError):
        return None, None  # a damaged event, which verifying will name
    before = states.get(name)
    after = before
    if kind == "requested" and before not in ALIVE:
        after = "pending"
    elif kind == "imported" and before is None:
        after = fields.get("status")
    elif kind == "confirmed" and before == "pending":
        after = "confirmed"
    elif kind in ENDS and before in ALIVE:
        after = ENDS[kind]
    if name is None or after == before:
        return name, None
    states[name] = after
    return name, after


def add(
    connection: sa.Connection, levels: list[list[bytes]], numbers: list[int], found: bytes
) -> None:
    """Add a hash to the lowest level; the root of a tile that it fills goes to the level above."""
    for level in range(len(levels) + 1):
        if level == len(levels):
            levels.append([])
            numbers.append(0)
        levels[level].append(found)
        if len(levels[level]) < WIDTH:
            return
        row = levels[level]
        write(connection, level, numbers[level], row)
        levels[level] = []
        numbers[level] += 1
        while len(row) > 1:
            row = [
                hashlib.sha256(b"\x01" + row[i] + row[i + 1]).digest()
                for i in range(0, len(row), 2)
            ]
        found = row[0]


def write(connection: sa.Connection, level: int, number: int, hashes: list[bytes]) -> None:
    tile = sa.table(
        "consent_tile",
        sa.column("log"),
        sa.column("level"),
        sa.column("number"),
        sa.column("hashes", sa.LargeBinary()),
    )
    connection.execute(
        tile.insert(), {"log": 1, "level": level, "number": number, "hashes": b"".join(hashes)}
    )


def downgrade() -> None:
    with op.batch_alter_table("consent_event", schema=None) as batch_op:
        batch_op.drop_index("ix_consent_event_subscription_id")
    with op.batch_alter_table("consent_event", schema=None) as batch_op:
        batch_op.drop_constraint(
            batch_op.f("fk_consent_event_subscription_id_subscription"), type_="foreignkey"
        )
        batch_op.drop_constraint(batch_op.f("ck_consent_event_state"), type_="check")
        batch_op.drop_column("state")
        batch_op.drop_column("subscription_id")
    with op.batch_alter_table("subscription", schema=None) as batch_op:
        batch_op.drop_column("reminded_at")
    with op.batch_alter_table("installation", schema=None) as batch_op:
        for name in (
            "uncleaned_since",
            "verified_size",
            "log_fault",
            "recovery_position",
            "log_number",
        ):
            batch_op.drop_column(name)
    op.drop_table("ledger_entry")
    op.drop_table("consent_checkpoint")
    op.drop_table("consent_tile")
