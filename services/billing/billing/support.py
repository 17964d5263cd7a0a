"""What support and operators ask on the command line."""

from billing import queries
from billing.commands import ask_for_everybody
from billing.entitlement import Rules
from billing.models import Alias, Change, Refresh, tombstones
from billing.notice import Notice
from billing.refreshing import Refresher
from billing.schemas import SubscriptionView
from common.clock import wire_time
from common.db.tombstones import UserErased
from common.db.uow import UnitOfWork
from common.service import Service
from common.web.pagination import MOST, Page

_EVER = Page(limit=MOST, offset=0)
_LAST_WEBHOOKS = 20


async def explain(service: Service, rules: Rules, user_id: str) -> int:
    """Prints a user's state, what led to it and what happens next; 1 for a user nothing is known about."""
    async with service.opened(), service.database.transaction() as uow:
        if erased_at := await tombstones.erased_at(uow, user_id):
            print(f"{user_id}: the account was deleted at {wire_time(erased_at)}; nothing is kept")
            return 1
        if await queries.customer(uow, user_id) is None:
            print(f"{user_id}: nothing is known; the plan is free")
            return 1
        for line in await _explanation(uow, rules, user_id):
            print(line)
    return 0


async def reconcile(service: Service, rules: Rules, user_id: str | None) -> int:
    """Reads one user and prints the outcome, or has everybody read (None); 1 when the user could not be read."""
    async with service.opened():
        if user_id is None:
            async with service.database.transaction() as uow:
                count = await ask_for_everybody(uow)
            print(f"{count} users will be read by the workers, the paying ones first")
            return 0
        refresher: Refresher = service.app.state.refresher
        try:
            read = await refresher.reconcile(user_id)
        except UserErased:
            print(f"{user_id}: the account was deleted; it is not read any more")
            return 1
        async with service.database.transaction() as uow:
            print(await _state(uow, rules, user_id))
    if not read:
        print("not settled by this reading; the workers read again")
    return 0 if read else 1


async def _explanation(uow: UnitOfWork, rules: Rules, user_id: str) -> list[str]:
    lines = [await _state(uow, rules, user_id)]
    planned = await queries.refresh(uow, user_id)
    known = await queries.customer(uow, user_id)
    if known and known.changes_at:
        lines.append(f"next by time alone: {wire_time(known.changes_at)}")
    lines.append(_planned(planned) if planned else "no reading is planned: nothing can change unheard")
    lines += [_alias(alias) for alias in await queries.aliases(uow, user_id)]
    lines.append("changes, newest first:")
    changes = await queries.history(uow, user_id, _EVER)
    lines += [_change(change) for change in changes] or ["  none: it has always been free"]
    lines.append("last webhooks, newest first:")
    notices = await queries.last_notices(uow, user_id, _LAST_WEBHOOKS)
    return lines + ([_notice(notice) for notice in notices] or ["  none"])


async def _state(uow: UnitOfWork, rules: Rules, user_id: str) -> str:
    state, sequence, as_of = await queries.subscription(uow, rules, user_id)
    view = SubscriptionView.of(state, sequence, as_of)
    return f"{user_id}: {view.model_dump_json(by_alias=True, indent=2)}"


def _planned(planned: Refresh) -> str:
    failed = f", {planned.attempts} attempts failed" if planned.attempts else ""
    return f"next reading: {wire_time(planned.due_at)} ({planned.cause}{failed})"


def _alias(alias: Alias) -> str:
    how = f"claimed at {wire_time(alias.claimed_at)}" if alias.claimed_at else "by RevenueCat's word"
    return f"also known as {alias.anonymous_id} ({how})"


def _change(change: Change) -> str:
    until = f" until {wire_time(change.expires_at)}" if change.expires_at else ""
    what = f"{change.plan}, {change.status}{until}"
    return f"  {change.sequence:>4}  {wire_time(change.changed_at)}  {what}: {change.cause}"


def _notice(notice: Notice) -> str:
    product = f" {notice.product_id}" if notice.product_id else ""
    return f"  {wire_time(notice.happened_at)}  {notice.type}{product}  {notice.id}"
