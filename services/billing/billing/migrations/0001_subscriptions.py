"""Webhooks, whom they name, what was read and what followed, and the schema's outbox and inbox."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "billing"


def upgrade() -> None:
    _create_heard()
    _create_known()
    _create_announced()
    _create_refresh()
    _create_outbox()
    _create_inbox()


def downgrade() -> None:
    for table in ("inbox", "outbox", "refresh", "change", "customer", "snapshot", "product_cover", "alias", "mention"):
        op.drop_table(table, schema=SCHEMA)
    op.drop_table("webhook_event", schema=SCHEMA)


def _create_heard() -> None:
    op.create_table(
        "webhook_event",
        _text("id"),
        _text("type"),
        _moment("happened_at"),
        _moment("received_at"),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_event"),
        schema=SCHEMA,
    )
    op.create_index("ix_webhook_event_received_at", "webhook_event", ["received_at"], schema=SCHEMA)
    op.create_table(
        "mention",
        _text("app_user_id"),
        _text("event_id"),
        sa.PrimaryKeyConstraint("app_user_id", "event_id", name="pk_mention"),
        sa.ForeignKeyConstraint(
            ["event_id"], [f"{SCHEMA}.webhook_event.id"], name="fk_mention_event_id_webhook_event", ondelete="CASCADE"
        ),
        schema=SCHEMA,
    )
    op.create_index("ix_mention_event_id", "mention", ["event_id"], schema=SCHEMA)


def _create_known() -> None:
    op.create_table(
        "alias",
        _text("anonymous_id"),
        _text("user_id", nullable=True),
        _moment("claimed_at", nullable=True),
        _moment("seen_at"),
        sa.PrimaryKeyConstraint("anonymous_id", name="pk_alias"),
        schema=SCHEMA,
    )
    op.create_index("ix_alias_user_id", "alias", ["user_id"], schema=SCHEMA)
    op.create_table(
        "product_cover",
        _text("product_id"),
        _text("entitlement"),
        sa.PrimaryKeyConstraint("product_id", "entitlement", name="pk_product_cover"),
        schema=SCHEMA,
    )
    op.create_table(
        "snapshot",
        _text("app_user_id"),
        sa.Column("taken_ms", sa.BigInteger(), nullable=False),
        _moment("read_at"),
        _text("document"),
        sa.PrimaryKeyConstraint("app_user_id", name="pk_snapshot"),
        schema=SCHEMA,
    )


def _create_announced() -> None:
    op.create_table(
        "customer",
        _text("user_id"),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        _text("plan"),
        sa.Column("announced", postgresql.JSONB(), nullable=False),
        _moment("changes_at", nullable=True),
        _moment("created_at"),
        _moment("updated_at"),
        sa.PrimaryKeyConstraint("user_id", name="pk_customer"),
        schema=SCHEMA,
    )
    op.create_index("ix_customer_changes_at", "customer", ["changes_at"], schema=SCHEMA)
    op.create_table(
        "change",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        _text("user_id"),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        _moment("changed_at"),
        _text("plan"),
        _text("status"),
        _moment("expires_at", nullable=True),
        sa.Column("will_renew", sa.Boolean(), nullable=False),
        _text("product_id", nullable=True),
        *_cause(),
        sa.PrimaryKeyConstraint("id", name="pk_change"),
        sa.UniqueConstraint("user_id", "sequence", name="uq_change_user_id_sequence"),
        schema=SCHEMA,
    )


def _create_refresh() -> None:
    op.create_table(
        "refresh",
        _text("user_id"),
        _moment("due_at"),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("readings_again", sa.Integer(), nullable=False),
        *_cause(),
        sa.Column("lease_token", postgresql.UUID(as_uuid=True)),
        _moment("lease_until", nullable=True),
        sa.PrimaryKeyConstraint("user_id", name="pk_refresh"),
        schema=SCHEMA,
    )
    op.create_index("ix_refresh_due_at", "refresh", ["due_at"], schema=SCHEMA)


def _text(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _moment(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _cause() -> list[sa.Column[Any]]:
    named = [_text("event_id", nullable=True), _text("event_type", nullable=True)]
    return [_text("cause_kind"), _text("cause"), *named]


def _create_outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("message_id", postgresql.UUID(as_uuid=True), nullable=False),
        _text("type"),
        _text("subject"),
        sa.Column("body", sa.Text(), nullable=False, comment="the CloudEvents envelope as JSON"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        _moment("published_at", nullable=True),
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
        _text("consumer"),
        sa.Column("message_id", postgresql.UUID(as_uuid=True), nullable=False),
        sa.Column("handled_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("consumer", "message_id", name="pk_inbox"),
        schema=SCHEMA,
    )
    op.create_index("ix_inbox_handled_at", "inbox", ["handled_at"], schema=SCHEMA)
