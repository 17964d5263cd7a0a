"""Which request asked for a reading, so that its trace goes on through the worker."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SCHEMA = "billing"
COLUMNS = ("traceparent", "correlation_id")


def upgrade() -> None:
    for name in COLUMNS:
        op.add_column("refresh", sa.Column(name, sa.Text()), schema=SCHEMA)


def downgrade() -> None:
    for name in reversed(COLUMNS):
        op.drop_column("refresh", name, schema=SCHEMA)
