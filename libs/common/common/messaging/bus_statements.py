"""The SQL of the bus on PostgreSQL: one row per message and queue in a schema of its own.

A claim names the session that made it (its backend's process id). The rows of a session that no longer exists are free
at once, so a killed process delays nothing; the lease covers a process id that another session has got since.
"""

from common.messaging.bus import UNROUTED

CHANNEL = "bus"
LEASE_SECONDS = 60

SCHEMA = """
DO $$ BEGIN
    -- asked first, because IF NOT EXISTS demands the right to make a schema even where it exists
    IF NOT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = 'bus') THEN CREATE SCHEMA bus; END IF;
END $$;
CREATE TABLE IF NOT EXISTS bus.binding (
    queue text NOT NULL, type text NOT NULL, broadcast_pid int, PRIMARY KEY (queue, type)
);
CREATE TABLE IF NOT EXISTS bus.message (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue text NOT NULL, body text NOT NULL, attempts int NOT NULL DEFAULT 0,
    first_seen timestamptz NOT NULL DEFAULT now(), available_at timestamptz NOT NULL DEFAULT now(),
    claimed_by int, claimed_until timestamptz, parked boolean NOT NULL DEFAULT false, reason text
);
CREATE INDEX IF NOT EXISTS ix_message_ready ON bus.message (queue, id) WHERE NOT parked;
CREATE INDEX IF NOT EXISTS ix_message_parked ON bus.message (queue, id) WHERE parked;
"""

PUBLISH = f"""
    WITH sent AS (SELECT * FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS t(type, body, place)),
    copies AS (
        INSERT INTO bus.message (queue, body)
        SELECT coalesce(b.queue, '{UNROUTED}'), sent.body
        FROM sent LEFT JOIN bus.binding b ON b.type = sent.type ORDER BY sent.place RETURNING 1)
    SELECT pg_notify('{CHANNEL}', ''), count(*) FROM copies
"""
BIND = "INSERT INTO bus.binding (queue, type) VALUES ($1, $2) ON CONFLICT DO NOTHING"
BIND_BROADCAST = """
    INSERT INTO bus.binding (queue, type, broadcast_pid) VALUES ($1, $2, $3)
    ON CONFLICT (queue, type) DO UPDATE SET broadcast_pid = excluded.broadcast_pid
"""
UNBIND_DEPARTED = """
    DELETE FROM bus.binding WHERE broadcast_pid NOT IN (SELECT pid FROM pg_stat_activity WHERE pid IS NOT NULL)
    RETURNING queue
"""
EMPTY = "DELETE FROM bus.message WHERE queue = ANY($1::text[])"
UNBIND = "DELETE FROM bus.binding WHERE queue = $1"

CLAIM = f"""
    UPDATE bus.message SET claimed_by = $2, claimed_until = now() + interval '{LEASE_SECONDS} seconds'
    WHERE id IN (
        SELECT id FROM bus.message
        WHERE queue = $1 AND NOT parked AND available_at <= now() AND id <> ALL($4::bigint[])
          AND (claimed_until IS NULL OR claimed_until < now()
               OR claimed_by NOT IN (SELECT pid FROM pg_stat_activity WHERE pid IS NOT NULL))
        ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED)
    RETURNING id, body, attempts
"""
RENEW = f"""
    UPDATE bus.message SET claimed_by = $2, claimed_until = now() + interval '{LEASE_SECONDS} seconds'
    WHERE id = ANY($1::bigint[])
"""
RELEASE = "UPDATE bus.message SET claimed_by = NULL, claimed_until = NULL WHERE id = ANY($1::bigint[])"
SETTLE = "DELETE FROM bus.message WHERE id = ANY($1::bigint[])"
RETRY = """
    UPDATE bus.message SET attempts = $2, reason = $3, claimed_by = NULL, claimed_until = NULL,
    available_at = now() + make_interval(secs => $4) WHERE id = $1
"""
PARK = """
    UPDATE bus.message SET parked = true, attempts = $2, reason = $3, claimed_by = NULL, claimed_until = NULL
    WHERE id = $1
"""

COUNT_PARKED = """
    SELECT b.queue, count(m.id) AS parked
    FROM (SELECT DISTINCT queue FROM bus.binding WHERE broadcast_pid IS NULL) b
    LEFT JOIN bus.message m ON m.queue = b.queue AND m.parked GROUP BY b.queue ORDER BY b.queue
"""
LIST_PARKED = """
    SELECT id, body, reason, attempts, first_seen FROM bus.message WHERE queue = $1 AND parked ORDER BY id LIMIT $2
"""
REPLAY = "UPDATE bus.message SET parked = false, attempts = 0, available_at = now() WHERE id = ANY($1::bigint[])"
