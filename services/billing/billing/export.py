"""Everything billing holds about a user, as a document they can take along."""

import json
from collections.abc import AsyncIterable, Sequence
from typing import Any

from fastapi.responses import StreamingResponse

from billing import queries
from billing.models import Alias, Change, KeptSnapshot, ProvisionalGrant, Refresh, WebhookEvent
from billing.notice import is_anonymous, parse_notice
from billing.redaction import ids_gone_with, without
from billing.schemas import SubscriptionView
from common.web.erasure import Belongings, as_json, streamed


def of(belongings: Belongings, subscription: SubscriptionView) -> StreamingResponse:
    """``subscription`` is what the rest amounts to at this instant."""
    user_id = belongings.user_id
    lists: dict[str, AsyncIterable[str]] = {
        "anonymousIds": belongings.all(queries.aliases_after, _alias),
        "readings": belongings.all(queries.snapshots_after, _snapshot),
        "changes": belongings.all(queries.changes_after, _change),
        "webhooks": belongings.all(queries.webhooks_after, lambda event: _webhook(event, user_id)),
        "provisionalGrants": belongings.all(_grants_once, _grant),
        "plannedReadings": belongings.all(_planned_once, _planned),
    }
    return streamed({"subscription": subscription.model_dump(mode="json", by_alias=True)}, lists)


def _alias(alias: Alias) -> str:
    facts = {"id": alias.anonymous_id, "seenAt": alias.seen_at, "claimedAt": alias.claimed_at}
    return as_json(facts)


def _snapshot(kept: KeptSnapshot) -> str:
    return as_json({"appUserId": kept.app_user_id, "readAt": kept.read_at}, answer=kept.document)


def _change(change: Change) -> str:
    return as_json(
        {
            "sequence": change.sequence,
            "changedAt": change.changed_at,
            "plan": change.plan,
            "status": change.status,
            "expiresAt": change.expires_at,
            "willRenew": change.will_renew,
            "productId": change.product_id,
            "cause": change.cause,
            "causeKind": change.cause_kind,
            "eventId": change.event_id,
            "eventType": change.event_type,
            "reason": change.reason,
            "takenAt": change.taken_at,
        }
    )


def _webhook(event: WebhookEvent, user_id: str) -> str:
    facts = {"id": event.id, "type": event.type, "happenedAt": event.happened_at, "receivedAt": event.received_at}
    notice = parse_notice(event.body, event.received_at)
    others = {one for one in notice.ids if one != user_id and not is_anonymous(one)}
    body = without(event.body, ids_gone_with(notice, others)) if others else event.body
    return as_json(facts, body=_document(body))


def _document(body: bytes) -> str:
    """The body's own text where that is JSON by the letter of the standard, else the text as a string."""
    text = body.decode(json.detect_encoding(body), "surrogatepass")
    try:
        json.loads(text, parse_constant=_refuse)
        text.encode()
    except ValueError:
        return json.dumps(text)
    return text


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


async def _grants_once(uow: Any, user_id: str, last: ProvisionalGrant | None) -> Sequence[ProvisionalGrant]:
    return [] if last else await queries.provisional_grants(uow, user_id)


def _grant(given: ProvisionalGrant) -> str:
    named = {"entitlement": given.name, "productId": given.product_id, "store": given.store, "eventId": given.event_id}
    return as_json({**named, "accessUntil": given.access_until})


async def _planned_once(uow: Any, user_id: str, last: Refresh | None) -> list[Refresh]:
    planned = None if last else await queries.refresh(uow, user_id)
    return [planned] if planned else []


def _planned(planned: Refresh) -> str:
    return as_json({"dueAt": planned.due_at, "cause": planned.cause, "failedAttempts": planned.attempts})
