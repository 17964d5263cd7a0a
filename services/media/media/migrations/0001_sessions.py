"""Sessions with their audio and jobs, the free tier's counts, the key of play grants, and the outbox and inbox."""

import sqlalchemy as sa
from alembic import op
from cryptography.fernet import Fernet
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "media"


def upgrade() -> None:
    op.create_table(
        "daily_use",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("starts", sa.Integer(), nullable=False),
        sa.Column("creations", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "day", name=op.f("pk_daily_use")),
        schema=SCHEMA,
    )
    op.create_table(
        "discarded_audio",
        sa.Column("session_id", sa.String(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_discarded_audio")),
        schema=SCHEMA,
    )
    op.create_index(op.f("ix_discarded_audio_due_at"), "discarded_audio", ["due_at"], unique=False, schema=SCHEMA)
    op.create_table(
        "entitlement",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("plan", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("store", sa.String(), nullable=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("will_renew", sa.Boolean(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("renews_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_entitlement")),
        schema=SCHEMA,
    )
    op.create_table(
        "inbox",
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("message_id", sa.UUID(), nullable=False),
        sa.Column("handled_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("consumer", "message_id", name=op.f("pk_inbox")),
        schema=SCHEMA,
    )
    op.create_index(op.f("ix_inbox_handled_at"), "inbox", ["handled_at"], unique=False, schema=SCHEMA)
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("message_id", sa.UUID(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False, comment="the CloudEvents envelope as JSON"),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("message_id", name=op.f("uq_outbox_message_id")),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_outbox_published_at",
        "outbox",
        ["published_at"],
        unique=False,
        schema=SCHEMA,
        postgresql_where=sa.text("published_at IS NOT NULL"),
    )
    op.create_index(
        "ix_outbox_unpublished",
        "outbox",
        ["id"],
        unique=False,
        schema=SCHEMA,
        postgresql_where=sa.text("published_at IS NULL"),
    )
    op.create_table(
        "session",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("owner_user_id", sa.String(), nullable=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("goal_tag", sa.String(), nullable=True),
        sa.Column("voice_id", sa.String(), nullable=False),
        sa.Column("frequency_hz", sa.Float(), nullable=True),
        sa.Column("brainwave_state", sa.String(), nullable=True),
        sa.Column("solfeggio_hz", sa.Float(), nullable=True),
        sa.Column("lines_hash", sa.String(), nullable=False),
        sa.Column("idempotency_key", sa.String(), nullable=True),
        sa.Column("request_hash", sa.String(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session")),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_session_catalog",
        "session",
        ["created_at"],
        unique=False,
        schema=SCHEMA,
        postgresql_where=sa.text("owner_user_id IS NULL"),
    )
    op.create_index(
        "ix_session_owner_user_id_created_at", "session", ["owner_user_id", "created_at"], unique=False, schema=SCHEMA
    )
    op.create_index(
        "uq_session_owner_user_id_idempotency_key",
        "session",
        ["owner_user_id", "idempotency_key"],
        unique=True,
        schema=SCHEMA,
    )
    op.create_table(
        "session_start",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("session_id", sa.String(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "day", "session_id", name=op.f("pk_session_start")),
        schema=SCHEMA,
    )
    op.create_table(
        "job",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("session_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=True),
        sa.Column("lines_hash", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("percent", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error_code", sa.String(), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("lease_token", sa.String(), nullable=True),
        sa.Column("available_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["session_id"], ["media.session.id"], name=op.f("fk_job_session_id_session"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_job_due",
        "job",
        ["available_at"],
        unique=False,
        schema=SCHEMA,
        postgresql_where=sa.text("status IN ('pending', 'processing')"),
    )
    op.create_index("ix_job_session_id_created_at", "job", ["session_id", "created_at"], unique=False, schema=SCHEMA)
    op.create_index(
        "uq_job_open_session_id",
        "job",
        ["session_id"],
        unique=True,
        schema=SCHEMA,
        postgresql_where=sa.text("status IN ('pending', 'processing')"),
    )
    op.create_table(
        "grant_key",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("secret", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_grant_key")),
        schema=SCHEMA,
    )
    key = sa.text("INSERT INTO media.grant_key (secret, created_at) VALUES (:secret, now())")
    op.execute(key.bindparams(secret=Fernet.generate_key().decode()))
    op.create_table(
        "session_audio",
        sa.Column("session_id", sa.String(), nullable=False),
        sa.Column("audio_key", sa.String(), nullable=False),
        sa.Column("lines_hash", sa.String(), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("loudness_lufs", sa.Float(), nullable=False),
        sa.Column("true_peak_dbtp", sa.Float(), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("engine", sa.String(), nullable=False),
        sa.Column("segments", postgresql.JSONB(), nullable=False),
        sa.Column("generated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["session_id"], ["media.session.id"], name=op.f("fk_session_audio_session_id_session"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_session_audio")),
        schema=SCHEMA,
    )
    op.create_table(
        "session_line",
        sa.Column("session_id", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["session_id"], ["media.session.id"], name=op.f("fk_session_line_session_id_session"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("session_id", "position", name=op.f("pk_session_line")),
        schema=SCHEMA,
    )


def downgrade() -> None:
    for table in (
        "session_line",
        "session_audio",
        "grant_key",
        "job",
        "session_start",
        "session",
        "outbox",
        "inbox",
        "entitlement",
        "discarded_audio",
        "daily_use",
    ):
        op.drop_table(table, schema=SCHEMA)
