"""What the provider tells of users and their sessions, links of other issuers' subjects, and deletions."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCHEMA = "identity"


def upgrade() -> None:
    _describe_users()
    op.create_table(
        "link",
        _text("issuer"),
        _text("subject"),
        _text("user_id"),
        _moment("created_at"),
        sa.PrimaryKeyConstraint("issuer", "subject", name="pk_link"),
        schema=SCHEMA,
    )
    op.create_index("ix_link_subject", "link", ["subject"], schema=SCHEMA)
    op.create_index("ix_link_user_id", "link", ["user_id"], schema=SCHEMA)
    op.create_table(
        "webhook_seen",
        _text("id"),
        _text("type"),
        _moment("received_at"),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_seen"),
        schema=SCHEMA,
    )
    op.create_index("ix_webhook_seen_received_at", "webhook_seen", ["received_at"], schema=SCHEMA)
    op.create_table(
        "ended_session",
        _text("session_id"),
        _text("user_id"),
        _moment("ended_at"),
        _moment("recorded_at"),
        sa.PrimaryKeyConstraint("session_id", name="pk_ended_session"),
        schema=SCHEMA,
    )
    op.create_index("ix_ended_session_user_id", "ended_session", ["user_id"], schema=SCHEMA)
    op.create_index("ix_ended_session_recorded_at", "ended_session", ["recorded_at"], schema=SCHEMA)
    _create_deletions()


def downgrade() -> None:
    for table in ("receipt", "deletion", "tombstone", "ended_session", "webhook_seen", "link"):
        op.drop_table(table, schema=SCHEMA)
    op.drop_index("ix_user_lookup_at", "user", schema=SCHEMA)
    for column in ("lookup_attempts", "lookup_at", "described_at"):
        op.drop_column("user", column, schema=SCHEMA)


def _describe_users() -> None:
    op.add_column("user", sa.Column("described_at", sa.DateTime(timezone=True)), schema=SCHEMA)
    op.add_column("user", sa.Column("lookup_at", sa.DateTime(timezone=True)), schema=SCHEMA)
    # the default lets the version before go on inserting users
    attempts = sa.Column("lookup_attempts", sa.BigInteger(), nullable=False, server_default=sa.text("0"))
    op.add_column("user", attempts, schema=SCHEMA)
    looked_up = sa.text("lookup_at IS NOT NULL")
    op.create_index("ix_user_lookup_at", "user", ["lookup_at"], schema=SCHEMA, postgresql_where=looked_up)
    op.execute(r"""
        UPDATE identity.user SET lookup_at = now()
        WHERE email IS NULL AND id LIKE 'user\_%' AND issuer <> 'development'
    """)


def _create_deletions() -> None:
    op.create_table(
        "tombstone",
        _text("user_id"),
        _moment("deleted_at"),
        sa.PrimaryKeyConstraint("user_id", name="pk_tombstone"),
        schema=SCHEMA,
    )
    op.create_index("ix_tombstone_deleted_at", "tombstone", ["deleted_at"], schema=SCHEMA)
    op.create_table(
        "deletion",
        _text("id"),
        _text("user_id"),
        _text("issuer"),
        _moment("requested_at"),
        sa.Column("completed_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_deletion"),
        sa.UniqueConstraint("user_id", name="uq_deletion_user_id"),
        schema=SCHEMA,
    )
    is_open = sa.text("completed_at IS NULL")
    op.create_index("ix_deletion_open", "deletion", ["requested_at"], schema=SCHEMA, postgresql_where=is_open)
    op.create_table(
        "receipt",
        _text("deletion_id"),
        _text("store"),
        _text("status"),
        sa.Column("counts", postgresql.JSONB(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True)),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("problem", sa.Text()),
        sa.Column("completed_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("deletion_id", "store", name="pk_receipt"),
        sa.ForeignKeyConstraint(
            ["deletion_id"], [f"{SCHEMA}.deletion.id"], name="fk_receipt_deletion_id_deletion", ondelete="CASCADE"
        ),
        schema=SCHEMA,
    )
    due = sa.text("due_at IS NOT NULL")
    op.create_index("ix_receipt_due_at", "receipt", ["due_at"], schema=SCHEMA, postgresql_where=due)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _moment(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False)
