"""Indexes by which old rows are found.

Revision ID: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SCHEMA = "media"
ENDED = sa.text("finished_at IS NOT NULL")


def upgrade() -> None:
    op.create_index("ix_job_finished_at", "job", ["finished_at"], schema=SCHEMA, postgresql_where=ENDED)
    for table in ("daily_use", "session_start"):
        op.create_index(f"ix_{table}_day", table, ["day"], schema=SCHEMA)


def downgrade() -> None:
    for table in ("session_start", "daily_use"):
        op.drop_index(f"ix_{table}_day", table, schema=SCHEMA)
    op.drop_index("ix_job_finished_at", "job", schema=SCHEMA)
