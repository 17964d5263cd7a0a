"""What was committed and is not yet published, schema by schema, and who is publishing it."""

from typing import Any

from entrain.checks.databases import session
from entrain.deployment import OWNERS, Deployment

_COUNTED = """
    SELECT count(*) AS waiting, extract(epoch FROM now() - min(created_at))::float AS oldest_seconds
    FROM {schema}.outbox WHERE published_at IS NULL
"""
_OLDEST = """
    SELECT message_id::text AS id, type, created_at FROM {schema}.outbox
    WHERE published_at IS NULL ORDER BY id LIMIT $1
"""
_LEADER = """
    SELECT pid, backend_start AS since, client_addr::text AS address FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND objsubid = 1
    AND (classid::bigint << 32) | objid::bigint = hashtext($1)::bigint
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
"""The relay that leads holds this lock."""


async def waiting(deployment: Deployment, most: int) -> dict[str, Any]:
    """By schema: how much waits and since when, who publishes, and the oldest rows. Raises what the database raises."""
    return {schema: await _of(deployment, schema, most) for schema in OWNERS}


async def _of(deployment: Deployment, schema: str, most: int) -> dict[str, Any]:
    async with session(deployment.owner(schema).direct_url) as opened:
        counted = await opened.fetchrow(_COUNTED.format(schema=schema))
        leader = await opened.fetchrow(_LEADER, f"outbox_{schema}")
        oldest = await opened.fetch(_OLDEST.format(schema=schema), most)
    found: dict[str, Any] = {
        "waiting": counted["waiting"],
        "oldestSeconds": round(counted["oldest_seconds"] or 0.0, 1),
        "publishedBy": dict(leader) if leader else None,
        "oldest": [dict(row) for row in oldest],
    }
    if leader is None:
        found["whatToDo"] = f"no relay leads: start `python -m {schema} worker`"
    elif counted["waiting"]:
        found["whatToDo"] = f"`publish_failed` in the log of the {schema} worker says why; see `doctor --only broker`"
    return found
