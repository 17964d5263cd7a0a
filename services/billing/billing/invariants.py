"""What must hold of subscriptions. Told in SQL, apart from the code that is on trial."""

from collections.abc import Sequence
from datetime import timedelta

from billing.entitlement import Rules
from common.db.engine import Database
from common.invariants import Invariant, by_query

TAKEN_NOTICE = timedelta(minutes=2)
"""How long an end may go unnoticed; a worker announces it within a second."""

_UNPAID = """
    SELECT customer.user_id FROM billing.customer
    WHERE plan = 'pro' AND NOT EXISTS (
        SELECT FROM (
            SELECT customer.user_id AS app_user_id UNION ALL
            SELECT anonymous_id FROM billing.alias WHERE alias.user_id = customer.user_id AND claimed_at IS NOT NULL
        ) AS known JOIN billing.snapshot AS kept USING (app_user_id)
        CROSS JOIN LATERAL jsonb_each(kept.document::jsonb #> '{subscriber,entitlements}') AS held (name, facts)
        WHERE held.name = ANY (CAST(:pro AS text[]))
        AND (facts ->> 'expires_date' IS NULL
            OR (facts ->> 'expires_date')::timestamptz > CAST(:since AS timestamptz)
            OR (facts ->> 'grace_period_expires_date')::timestamptz > CAST(:since AS timestamptz))
    ) AND NOT EXISTS (
        SELECT FROM billing.provisional_grant AS honoured
        WHERE honoured.user_id = customer.user_id AND name = ANY (CAST(:pro AS text[]))
        AND access_until > CAST(:since AS timestamptz)
    )
"""
"""Snapshots are found by their keys: one condition on both ways to them would compare everybody with everybody."""
_UNPLANNED = """
    SELECT customer.user_id FROM billing.customer LEFT JOIN billing.refresh USING (user_id)
    WHERE plan = 'pro' AND (due_at IS NULL OR due_at > CAST(:now AS timestamptz) + interval '25 hours')
"""
_OF_THE_DELETED = "SELECT user_id FROM billing.customer JOIN billing.erased_user USING (user_id)"


def invariants(database: Database, rules: Rules) -> Sequence[Invariant]:
    return (
        Invariant(
            "no_pro_without_a_paid_cause",
            "whoever is pro has a purchase that RevenueCat showed, or a webhook honoured for now, that covers now",
            "`python -m billing explain USER` says why; `python -m billing reconcile USER` puts it right",
            by_query(database, _UNPAID, pro=lambda _: sorted(rules.pro), since=lambda uow: uow.now - TAKEN_NOTICE),
        ),
        Invariant(
            "every_subscriber_is_read",
            "whoever is pro has a reading at RevenueCat planned within 25 hours",
            "`python -m billing reconcile USER` reads them, and plans the next reading",
            by_query(database, _UNPLANNED, now=lambda uow: uow.now),
        ),
        Invariant(
            "nothing_kept_of_the_deleted",
            "no deleted user has a subscription here",
            "a fault of the program: keep the rows, and see the log of the user's deletion",
            by_query(database, _OF_THE_DELETED),
        ),
    )
