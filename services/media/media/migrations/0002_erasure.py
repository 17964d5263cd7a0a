"""Whose account was deleted, whose audio is still to be removed, and which spoken lines each session uses."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCHEMA = "media"

# in a function each statement sees what committed before it, also while the locks were waited for
_ERASED_AMONG = """
CREATE FUNCTION media.erased_among(ids text[]) RETURNS SETOF text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    bucket integer;
BEGIN
    FOR bucket IN SELECT DISTINCT hashtext(one) & 1023 FROM unnest(ids) AS one ORDER BY 1 LOOP
        PERFORM pg_advisory_xact_lock_shared(hashtext('media.erased_user'), bucket);
    END LOOP;
    RETURN QUERY SELECT user_id FROM media.erased_user WHERE user_id = ANY (ids);
END $$
"""


def upgrade() -> None:
    op.create_table(
        "erased_user",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("deletion_id", sa.Text(), nullable=True),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_erased_user")),
        schema=SCHEMA,
    )
    op.create_table(
        "audio_erasure",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("deletion_id", sa.String(), nullable=True),
        sa.Column("objects", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audio_erasure")),
        schema=SCHEMA,
    )
    op.create_table(
        "line_use",
        sa.Column("line_key", sa.String(), nullable=False),
        sa.Column("session_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("line_key", "session_id", name=op.f("pk_line_use")),
        schema=SCHEMA,
    )
    op.create_index(op.f("ix_line_use_session_id"), "line_use", ["session_id"], unique=False, schema=SCHEMA)
    op.add_column("discarded_audio", sa.Column("user_id", sa.String(), nullable=True), schema=SCHEMA)
    op.add_column(
        "discarded_audio", sa.Column("objects", sa.Integer(), nullable=False, server_default="0"), schema=SCHEMA
    )
    op.create_index(op.f("ix_discarded_audio_user_id"), "discarded_audio", ["user_id"], unique=False, schema=SCHEMA)
    op.execute(_ERASED_AMONG)


def downgrade() -> None:
    op.execute("DROP FUNCTION media.erased_among(text[])")
    op.drop_index(op.f("ix_discarded_audio_user_id"), table_name="discarded_audio", schema=SCHEMA)
    op.drop_column("discarded_audio", "objects", schema=SCHEMA)
    op.drop_column("discarded_audio", "user_id", schema=SCHEMA)
    for table in ("line_use", "audio_erasure", "erased_user"):
        op.drop_table(table, schema=SCHEMA)
