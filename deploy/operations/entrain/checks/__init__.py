"""Everything that is looked at, in the order of the report."""

from entrain.checks import (
    backlog,
    broker,
    clocks,
    databases,
    delivery,
    health,
    issuers,
    policies,
    providers,
    public,
    storage,
    webhooks,
)
from entrain.checks import settings as settings_checks
from entrain.findings import Check

CHECKS: tuple[Check, ...] = (
    *settings_checks.CHECKS,
    *health.CHECKS,
    *public.CHECKS,
    *databases.CHECKS,
    *broker.CHECKS,
    *policies.CHECKS,
    *storage.CHECKS,
    *delivery.CHECKS,
    *issuers.CHECKS,
    *providers.CHECKS,
    *webhooks.CHECKS,
    *clocks.CHECKS,
    *backlog.CHECKS,
)
