"""Which request asked for a render job, so that its trace goes on through the worker."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SCHEMA = "media"
COLUMNS = ("traceparent", "correlation_id")


def upgrade() -> None:
    for name in COLUMNS:
        op.add_column("job", sa.Column(name, sa.String()), schema=SCHEMA)


def downgrade() -> None:
    for name in reversed(COLUMNS):
        op.drop_column("job", name, schema=SCHEMA)
