"""A webhook as it may be logged or shown: what it is about, without what it tells of a person."""

import json
from collections.abc import Mapping
from typing import Any

REDACTED = "…"
_SHOWN = frozenset(
    {
        "type",
        "id",
        "event_timestamp_ms",
        "app_id",
        "product_id",
        "new_product_id",
        "entitlement_id",
        "entitlement_ids",
        "period_type",
        "purchased_at_ms",
        "expiration_at_ms",
        "grace_period_expiration_at_ms",
        "auto_resume_at_ms",
        "environment",
        "purchase_environment",
        "store",
        "cancel_reason",
        "expiration_reason",
        "is_family_share",
        "is_trial_conversion",
        "renewal_number",
        "redemption_outcome",
    }
)
"""Only members known to say nothing about a person; whatever is new is hidden until somebody has looked at it."""
_LONGEST = 300


def redacted(body: bytes) -> dict[str, Any]:
    """The event's members, all of them named, with the values that may be shown. Never raises."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {"unreadable_bytes": len(body)}
    event = document.get("event") if isinstance(document, dict) else None
    if not isinstance(event, Mapping):
        return {"without_event_bytes": len(body)}
    return {name[:_LONGEST]: _shown(name, value) for name, value in event.items()}


def _shown(name: str, value: object) -> object:
    if value is None:
        return None
    if name not in _SHOWN:
        return REDACTED
    if isinstance(value, list):
        return [one[:_LONGEST] if isinstance(one, str) else REDACTED for one in value[:20]]
    if isinstance(value, dict):
        return REDACTED
    return value[:_LONGEST] if isinstance(value, str) else value
