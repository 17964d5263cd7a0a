"""Whose turn it is in the queue of render jobs, how often a session has failed in a row, how far the sweeper came."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SCHEMA = "media"
_OPEN = sa.text("status IN ('pending', 'processing')")


def upgrade() -> None:
    op.add_column("job", sa.Column("failures", sa.Integer(), nullable=False, server_default="0"), schema=SCHEMA)
    op.add_column(
        "job",
        sa.Column("turn_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
        schema=SCHEMA,
    )
    # what waits keeps the order it had; what failed, the cool-down it was promised
    op.execute(
        "UPDATE media.job SET turn_at = created_at + CASE WHEN user_id IS NULL THEN interval '1 hour' ELSE '0' END "
        "WHERE status IN ('pending', 'processing')"
    )
    op.execute(
        "UPDATE media.job SET failures = 1, available_at = finished_at + interval '10 minutes' WHERE status = 'failed'"
    )
    op.drop_index("ix_job_due", table_name="job", schema=SCHEMA)
    op.create_index("ix_job_turn", "job", ["turn_at", "id"], schema=SCHEMA, postgresql_where=_OPEN)
    op.create_index("ix_job_open_user_id", "job", ["user_id"], schema=SCHEMA, postgresql_where=_OPEN)
    op.create_index("ix_session_audio_audio_key", "session_audio", ["audio_key"], schema=SCHEMA)
    op.create_table(
        "swept_prefix",
        sa.Column("prefix", sa.String(), nullable=False),
        sa.Column("after_key", sa.String(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("prefix", name=op.f("pk_swept_prefix")),
        schema=SCHEMA,
    )


def downgrade() -> None:
    op.drop_table("swept_prefix", schema=SCHEMA)
    op.drop_index("ix_session_audio_audio_key", table_name="session_audio", schema=SCHEMA)
    op.drop_index("ix_job_open_user_id", table_name="job", schema=SCHEMA)
    op.drop_index("ix_job_turn", table_name="job", schema=SCHEMA)
    op.create_index("ix_job_due", "job", ["available_at"], schema=SCHEMA, postgresql_where=_OPEN)
    for column in ("turn_at", "failures"):
        op.drop_column("job", column, schema=SCHEMA)
