"""Grants honoured before they can be read, whose reading comes first, how often a user may ask, and why in words."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SCHEMA = "billing"


def upgrade() -> None:
    _create_provisional_grant()
    rank = sa.Column("rank", sa.SmallInteger(), nullable=False, server_default=sa.text("0"))
    op.add_column("refresh", rank, schema=SCHEMA)
    op.create_index("ix_refresh_rank_due_at", "refresh", ["rank", "due_at"], schema=SCHEMA)
    op.drop_index("ix_refresh_due_at", "refresh", schema=SCHEMA)
    op.add_column("customer", sa.Column("sync_free_at", sa.DateTime(timezone=True)), schema=SCHEMA)
    op.add_column("change", sa.Column("reason", sa.Text()), schema=SCHEMA)
    op.add_column("change", sa.Column("taken_at", sa.DateTime(timezone=True)), schema=SCHEMA)


def downgrade() -> None:
    op.create_index("ix_refresh_due_at", "refresh", ["due_at"], schema=SCHEMA)
    op.drop_index("ix_refresh_rank_due_at", "refresh", schema=SCHEMA)
    for table, column in (
        ("change", "taken_at"),
        ("change", "reason"),
        ("customer", "sync_free_at"),
        ("refresh", "rank"),
    ):
        op.drop_column(table, column, schema=SCHEMA)
    op.drop_table("provisional_grant", schema=SCHEMA)


def _create_provisional_grant() -> None:
    op.create_table(
        "provisional_grant",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("product_id", sa.Text(), nullable=False),
        sa.Column("store", sa.Text(), nullable=True),
        sa.Column("paid_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("access_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sandbox", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "event_id", "name", name="pk_provisional_grant"),
        sa.ForeignKeyConstraint(
            ["user_id"],
            [f"{SCHEMA}.customer.user_id"],
            name="fk_provisional_grant_user_id_customer",
            ondelete="CASCADE",
        ),
        schema=SCHEMA,
    )
