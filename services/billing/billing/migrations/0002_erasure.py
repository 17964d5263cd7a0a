"""Whose account was deleted, and the customers that RevenueCat is still to delete."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCHEMA = "billing"

# in a function each statement sees what committed before it, also while the locks were waited for
_ERASED_AMONG = """
CREATE FUNCTION billing.erased_among(ids text[]) RETURNS SETOF text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    bucket integer;
BEGIN
    FOR bucket IN SELECT DISTINCT hashtext(one) & 1023 FROM unnest(ids) AS one ORDER BY 1 LOOP
        PERFORM pg_advisory_xact_lock_shared(hashtext('billing.erased_user'), bucket);
    END LOOP;
    RETURN QUERY
        SELECT user_id FROM billing.erased_user WHERE user_id = ANY (ids)
        UNION SELECT one FROM billing.subscriber_removal, unnest(app_user_ids) AS one WHERE one = ANY (ids);
END $$
"""


def upgrade() -> None:
    op.create_table(
        "erased_user",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("deletion_id", sa.Text(), nullable=True),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name="pk_erased_user"),
        schema=SCHEMA,
    )
    op.create_table(
        "subscriber_removal",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("deletion_id", sa.Text(), nullable=True),
        sa.Column("app_user_ids", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("asked", sa.Text(), nullable=True),
        sa.Column("removed", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_subscriber_removal"),
        schema=SCHEMA,
    )
    op.create_index("ix_subscriber_removal_due_at", "subscriber_removal", ["due_at"], schema=SCHEMA)
    op.execute(_ERASED_AMONG)


def downgrade() -> None:
    op.execute("DROP FUNCTION billing.erased_among(text[])")
    for table in ("subscriber_removal", "erased_user"):
        op.drop_table(table, schema=SCHEMA)
