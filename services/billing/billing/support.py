"""What support and operators ask on the command line."""

import asyncio
import json

from billing import commands, queries
from billing.causes import RECONCILE
from billing.entitlement import Rules
from billing.models import Alias, Change, Customer, tombstones
from billing.notice import Notice
from billing.refreshing import Refresher
from billing.schemas import SubscriptionView
from billing.showing import redacted
from billing.words import Coming, reason
from common.clock import wire_time
from common.db.tombstones import UserErased
from common.db.uow import UnitOfWork
from common.service import Service
from common.web.pagination import MOST, Page

_EVER = Page(limit=MOST, offset=0)
_LAST_WEBHOOKS = 20
_ANNOUNCED_AT_ONCE = 200
PATIENCE_SECONDS = 60.0
"""How long to wait for the workers to read anybody at all."""


async def explain(service: Service, rules: Rules, user_id: str) -> int:
    """Prints a user's state, what led to it and what happens next; 1 for a user nothing is known about."""
    async with service.opened(), service.database.transaction() as uow:
        if erased_at := await tombstones.erased_at(uow, user_id):
            print(f"{user_id}: the account was deleted at {wire_time(erased_at)}; nothing is kept")
            return 1
        if await queries.customer(uow, user_id) is None:
            print(f"{user_id}: nothing is known; the plan is free")
            return 1
        for line in await explanation(uow, rules, user_id):
            print(line)
    return 0


async def reconcile(
    service: Service, rules: Rules, user_id: str | None, *, wait: bool = False, poll_seconds: float = 1.0
) -> int:
    """Reads one user and prints the outcome, or has everybody read (None); 1 when not all could be read.

    ``wait`` follows the workers until everybody is read.
    """
    async with service.opened():
        if user_id is not None:
            return await _read_now(service, rules, user_id)
        async with service.database.transaction() as uow:
            count = await commands.ask_for_everybody(uow)
        print(f"{count} users will be read by the workers, the paying ones first", flush=True)
        return await _follow(service, count, poll_seconds) if wait else 0


async def replay(service: Service, rules: Rules, event_id: str) -> int:
    """Does again what a stored webhook asked for and prints the outcome for each user; 1 when it cannot be done."""
    async with service.opened():
        async with service.database.transaction() as uow:
            event = await queries.event(uow, event_id)
            users = await commands.replay(uow, event) if event else []
        if event is None:
            print(f"{event_id}: no such webhook is stored; they are kept for REVENUECAT_RAW_RETENTION_DAYS")
            return 1
        print(json.dumps(redacted(event.body), indent=2, ensure_ascii=False))
        print(f"{len(users)} users to read{': ' if users else ''}{', '.join(users)}")
        return max([await _read_now(service, rules, user_id) for user_id in users], default=0)


async def announce(service: Service, user_id: str | None) -> int:
    """Tells the other services again what one user's subscription is, or everybody's (None)."""
    told, last = 0, ""
    async with service.opened():
        while True:
            async with service.database.transaction() as uow:
                found = await _to_announce(uow, user_id, last)
                await commands.announce_again(uow, found)
            told += len(found)
            if user_id is not None or not found:
                break
            last = found[-1].user_id
            print(f"{told} users told so far, up to {last}", flush=True)
    print(f"{told} users told; a worker publishes it")
    return 0 if told or user_id is None else 1


async def _to_announce(uow: UnitOfWork, user_id: str | None, last: str) -> list[Customer]:
    if user_id is None:
        return list(await queries.customers_after(uow, last, _ANNOUNCED_AT_ONCE))
    known = await queries.customer(uow, user_id)
    return [known] if known and known.sequence else []


async def _read_now(service: Service, rules: Rules, user_id: str) -> int:
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


async def _follow(service: Service, count: int, poll_seconds: float) -> int:
    """Prints how many have been read until all are; 1 when nothing is read for a while."""
    left, patience = count, PATIENCE_SECONDS
    while left and patience > 0:
        await asyncio.sleep(poll_seconds)
        async with service.database.transaction() as uow:
            now_left = await queries.asked_for_by(uow, RECONCILE.kind)
        patience = PATIENCE_SECONDS if now_left < left else patience - poll_seconds
        if now_left < left:
            print(f"{count - now_left} of {count} read", flush=True)
        left = now_left
    if left:
        print(f"nobody was read for {PATIENCE_SECONDS:.0f} s: is a worker running, and does RevenueCat answer?")
    return 1 if left else 0


async def explanation(uow: UnitOfWork, rules: Rules, user_id: str) -> list[str]:
    """The lines that ``explain`` prints."""
    state, _, _ = await queries.subscription(uow, rules, user_id)
    lines = [await _state(uow, rules, user_id), f"because {reason(state)}", "what happens next:"]
    outlook = await queries.outlook(uow, rules, user_id)
    lines += [_coming(one) for one in outlook] or ["  nothing, until a webhook comes or the user asks"]
    lines += [_alias(alias) for alias in await queries.aliases(uow, user_id)]
    lines.append("changes, newest first:")
    changes = await queries.history(uow, user_id, _EVER)
    lines += [line for change in changes for line in _change(change)] or ["  none: it has always been free"]
    lines.append("last webhooks, newest first:")
    notices = await queries.last_notices(uow, user_id, _LAST_WEBHOOKS)
    return lines + ([_notice(notice) for notice in notices] or ["  none"])


async def _state(uow: UnitOfWork, rules: Rules, user_id: str) -> str:
    state, sequence, as_of = await queries.subscription(uow, rules, user_id)
    view = SubscriptionView.of(state, sequence, as_of)
    return f"{user_id}: {view.model_dump_json(by_alias=True, indent=2)}"


def _coming(one: Coming) -> str:
    return f"  {wire_time(one.at)}  {one.text}"


def _alias(alias: Alias) -> str:
    how = f"claimed at {wire_time(alias.claimed_at)}" if alias.claimed_at else "by RevenueCat's word"
    return f"also known as {alias.anonymous_id} ({how})"


def _change(change: Change) -> list[str]:
    word = "until" if change.plan == "pro" else "since"
    until = f" {word} {wire_time(change.expires_at)}" if change.expires_at else ""
    what = f"{change.plan}, {change.status}{until}"
    lines = [f"  {change.sequence:>4}  {wire_time(change.changed_at)}  {what}: {change.cause}"]
    if change.reason:
        read = f" (read at RevenueCat's {wire_time(change.taken_at)})" if change.taken_at else ""
        lines.append(f"        because {change.reason}{read}")
    return lines


def _notice(notice: Notice) -> str:
    product = f" {notice.product_id}" if notice.product_id else ""
    return f"  {wire_time(notice.happened_at)}  {notice.type}{product}  {notice.id}"
