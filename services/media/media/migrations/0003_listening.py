"""What users did with sessions, and how they want their cards to be."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SCHEMA = "media"


def upgrade() -> None:
    op.create_table(
        "curation_profile",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("primary_goal", sa.String(), nullable=True),
        sa.Column("voice_preference", sa.String(), nullable=True),
        sa.Column("sound_preference", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_curation_profile")),
        schema=SCHEMA,
    )
    op.create_table(
        "listening_event",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("session_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["media.session.id"],
            name=op.f("fk_listening_event_session_id_session"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_listening_event")),
        schema=SCHEMA,
    )
    for columns in (("user_id", "id"), ("session_id",), ("occurred_at",)):
        name = op.f(f"ix_listening_event_{'_'.join(columns)}")
        op.create_index(name, "listening_event", list(columns), unique=False, schema=SCHEMA)


def downgrade() -> None:
    op.drop_table("listening_event", schema=SCHEMA)
    op.drop_table("curation_profile", schema=SCHEMA)
