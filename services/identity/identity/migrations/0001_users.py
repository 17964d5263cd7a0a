"""Users, what they value and prefer, and the schema's outbox and inbox."""

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "identity"


def upgrade() -> None:
    op.create_table(
        "user",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("email", sa.Text()),
        sa.Column("struggle", sa.Text()),
        sa.Column("version", sa.BigInteger(), nullable=False),
        *_times(),
        sa.PrimaryKeyConstraint("id", name="pk_user"),
        schema=SCHEMA,
    )
    op.create_table(
        "user_value",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("value_id", sa.Text(), nullable=False),
        sa.Column("value_text", sa.Text(), nullable=False),
        sa.Column("rank", sa.BigInteger()),
        sa.Column("position", sa.BigInteger(), nullable=False),
        *_times(),
        sa.PrimaryKeyConstraint("id", name="pk_user_value"),
        _of_user("user_value"),
        schema=SCHEMA,
    )
    op.create_index("ix_user_value_user_id", "user_value", ["user_id"], schema=SCHEMA)
    op.create_table(
        "preferences",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("schema_version", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        *_times(),
        sa.PrimaryKeyConstraint("user_id", name="pk_preferences"),
        _of_user("preferences"),
        schema=SCHEMA,
    )
    _create_outbox()
    _create_inbox()


def downgrade() -> None:
    for table in ("inbox", "outbox", "preferences", "user_value", "user"):
        op.drop_table(table, schema=SCHEMA)


def _times() -> list[sa.Column[datetime]]:
    return [sa.Column(name, sa.DateTime(timezone=True), nullable=False) for name in ("created_at", "updated_at")]


def _of_user(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["user_id"], [f"{SCHEMA}.user.id"], name=f"fk_{table}_user_id_user", ondelete="CASCADE"
    )


def _create_outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("message_id", postgresql.UUID(as_uuid=True), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False, comment="the CloudEvents envelope as JSON"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("published_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
        sa.UniqueConstraint("message_id", name="uq_outbox_message_id"),
        schema=SCHEMA,
    )
    unpublished, published = sa.text("published_at IS NULL"), sa.text("published_at IS NOT NULL")
    op.create_index("ix_outbox_unpublished", "outbox", ["id"], schema=SCHEMA, postgresql_where=unpublished)
    op.create_index("ix_outbox_published_at", "outbox", ["published_at"], schema=SCHEMA, postgresql_where=published)


def _create_inbox() -> None:
    op.create_table(
        "inbox",
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("message_id", postgresql.UUID(as_uuid=True), nullable=False),
        sa.Column("handled_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("consumer", "message_id", name="pk_inbox"),
        schema=SCHEMA,
    )
    op.create_index("ix_inbox_handled_at", "inbox", ["handled_at"], schema=SCHEMA)
