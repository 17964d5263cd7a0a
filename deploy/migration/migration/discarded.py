"""Audio of sessions that a rollback takes back, and of the same sessions when they are moved again.

A rollback leaves media a row for each session that has put anything into the store; media's worker removes it from
there, and then the row. A session that came back meanwhile would lose its new file to that.
"""

from collections.abc import Sequence
from datetime import timedelta

from migration.homes import session_id
from migration.postgres import Connection
from migration.source import Source

RENDERED_FOR = timedelta(minutes=10)
"""How long a render that has begun may still add to the store."""
_DISCARD = """
    INSERT INTO media.discarded_audio (session_id, due_at)
    SELECT id, CASE WHEN rendering THEN now() + $2 ELSE now() END
    FROM media.session s, LATERAL (SELECT EXISTS (
        SELECT FROM media.job WHERE session_id = s.id AND (status = 'processing' OR status = 'pending' AND attempts > 0)
    )) AS r (rendering)
    WHERE id = ANY($1::text[]) AND (
        rendering
        OR EXISTS (SELECT FROM media.session_audio WHERE session_id = s.id)
        OR EXISTS (SELECT FROM media.line_use WHERE session_id = s.id))
    ON CONFLICT DO NOTHING
"""
_WAKE = "SELECT pg_notify('media_removals', '')"
_LEFT = "SELECT session_id, due_at > now() + interval '1 minute' AS later FROM media.discarded_audio"
_KEEP = "DELETE FROM media.discarded_audio WHERE session_id = ANY($1::text[])"


async def discard(media: Connection, sessions: Sequence[str]) -> None:
    """In the transaction that removes the sessions, before it does."""
    await media.execute(_DISCARD, sessions, RENDERED_FOR)
    await media.execute(_WAKE)


async def being_removed(media: Connection, source: Source, *, dry: bool) -> int:
    """How many of the file's sessions media is removing audio of; when none, no later removal touches them either."""
    left = {row["session_id"]: row["later"] for row in await media.fetch(_LEFT)}
    returning = left.keys() & _sessions(source) if left else set()
    now = sum(not left[one] for one in returning)
    if not now and not dry:
        await media.execute(_KEEP, sorted(returning))
    return now


def _sessions(source: Source) -> set[str]:
    if "Session" not in source.tables:
        return set()
    with source.every_byte():
        ids = source.connection.execute("SELECT id FROM Session WHERE typeof(id) = 'text'")
        return {session_id(old_id) for (old_id,) in ids if isinstance(old_id, str)}
