"""What becomes of a row in the services' own tables. Pure: clean rows in, rows of a service's table out.

What a service does not model stays in the archive, which holds every row whole.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from hashlib import sha256
from itertools import chain, groupby
from operator import itemgetter
from typing import Any

from media.ids import UUID_SHAPE
from media.lines import hash_of_lines
from migration.accounts import Accounts
from migration.job_messages import JobMessages, following_id
from migration.jsonb import object_as_jsonb
from migration.service_tables import (
    CURATION_PROFILE,
    JOB,
    LISTENING_EVENT,
    OUTBOX,
    PREFERENCES,
    REFRESH,
    SESSION,
    SESSION_AUDIO,
    SESSION_LINE,
    USER,
    USER_VALUE,
    ServiceTable,
)
from migration.source import Rows
from migration.values import EPOCH, milliseconds

Row = tuple[Any, ...]

_UUID = re.compile(UUID_SHAPE)
_NAMING_SESSIONS = (("Session", "id"), ("SessionAffirmation", "sessionId"))
_PLACEHOLDER_DOMAINS = ("clerk.dev", "example.com")
_CAUSE = ("reconcile", "moved from the prototype: what was paid for is asked of the provider")


_BEFORE_ALL, _LATEST_MS = -(2**62), 2**42 - 1


@dataclass(frozen=True, slots=True)
class WrittenLines:
    """The lines of a batch's sessions as COPY takes them: in the archive's form and in the service's."""

    archived: bytes
    served: bytes
    hashes: Mapping[str, str]
    """Of what each session says, as media makes them."""
    read: Callable[[], Rows]
    """The same lines, taken apart."""

    def rows(self) -> list[Row]:
        """The service's rows."""
        apart = self.read()
        return list(zip(*map(apart.column, ("sessionId", "idx", "text")), strict=True))


class Batch(dict[str, Rows]):
    """Rows that are moved together, by the table they are from."""

    written: WrittenLines | None = None
    """The sessions' lines, where nobody needs to take them apart."""

    def take_apart(self) -> None:
        """From here on the lines are rows like all others."""
        if self.written is not None:
            self["SessionAffirmation"] = self.written.read()
            self.written = None

    def prepare(self) -> None:
        """Finds out what takes long, in the thread that reads: PostgreSQL is at work meanwhile."""
        if "Session" in self:
            _ = self.ids, self.job_ids, self.lines_hashes
        for rows in self.values():
            for column in rows.table.legacy.columns:
                if column.kind == "instant":
                    rows.instants(column.name)

    @cached_property
    def hashes(self) -> Mapping[str, str]:
        """Of what each session says that says anything, as media makes them."""
        if self.written is not None:
            return self.written.hashes
        rows = self.get("SessionAffirmation")
        return {} if rows is None else hashes_of_lines(rows.column("sessionId"), rows.column("text"))

    @cached_property
    def ids(self) -> dict[str, str]:
        """The new id of each session that a row is or refers to."""
        named = [rows.column(name) for table, name in _NAMING_SESSIONS if (rows := self.get(table)) is not None]
        return {key: session_id(key) for key in set(chain.from_iterable(named))}

    @cached_property
    def job_ids(self) -> dict[str, str]:
        """Of the jobs that render the sessions: the same however often they are asked for."""
        return {key: following_id(key) for key in self["Session"].keys}

    @cached_property
    def lines_hashes(self) -> dict[str, str]:
        """Of each session's lines."""
        nothing = hash_of_lines(())
        return {key: self.hashes.get(key, nothing) for key in self["Session"].keys}


@dataclass(frozen=True, slots=True)
class StoredAudio:
    """A session's file in the new layout, and what was measured on it. ``segments`` is JSON as PostgreSQL writes it."""

    key: str
    duration_ms: int
    loudness_lufs: float
    true_peak_dbtp: float
    size: int
    sha256: str
    engine: str
    segments: str
    generated_at: datetime


@dataclass(frozen=True, slots=True)
class Context:
    """What a row's new form follows from beside the row; ``audio`` by the session's new id."""

    accounts: Accounts
    now: datetime
    audio: Mapping[str, StoredAudio] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Home:
    """A service's table and how its rows follow from a batch: one for each row of ``source``, None where it has none.

    What is ``proved`` stays as it was moved until its owner changes it. The rest is work handed to a service, which
    is gone when it is done.
    """

    table: ServiceTable
    source: str
    rows_of: Callable[[Batch, Context], Sequence[Row | None]]
    proved: bool = True


def hashes_of_lines(sessions: Iterable[str], texts: Iterable[str]) -> dict[str, str]:
    """By session, from its lines in their order."""
    pairs = zip(sessions, texts, strict=True)
    return {key: hash_of_lines([text for _, text in group]) for key, group in groupby(pairs, key=itemgetter(0))}


def session_id(old_id: str) -> str:
    """As the service looks for it: it takes ids in any case, and asks for them in lower case."""
    return old_id.lower() if _UUID.fullmatch(old_id) else old_id


def shown_id(identity: str) -> str:
    """For reports: an id that is one, else its hash, as anything could stand there."""
    return identity if _UUID.fullmatch(identity) else f"sha256:{sha256(identity.encode()).hexdigest()}"


def is_placeholder(email: str, user_id: str) -> bool:
    """Whether the prototype made the address up from the id, as it knew none."""
    local, _, domain = email.rpartition("@")
    return domain in _PLACEHOLDER_DOMAINS and user_id in local


def _users(batch: Batch, context: Context) -> list[Row | None]:
    rows, accounts = batch["User"], context.accounts
    read = zip(
        rows.column("id"),
        rows.column("email"),
        rows.column("struggle"),
        rows.instants("createdAt"),
        rows.instants("updatedAt"),
        strict=True,
    )
    found: list[Row | None] = []
    for old_id, email, struggle, created_at, updated_at in read:
        account = accounts.of(old_id)
        known = None if is_placeholder(email, old_id) else email
        lookup_at = context.now if known is None and accounts.is_account(old_id) else None
        row = (account, accounts.issuer_of(account), known, struggle, 1, lookup_at, created_at, updated_at)
        found.append(row if accounts.leads(old_id) else None)
    return found


def _readings(batch: Batch, context: Context) -> list[Row | None]:
    """What an account has paid for is asked of the provider, whatever the prototype thought."""
    accounts = context.accounts
    due_at = context.now
    return [
        (accounts.of(old_id), due_at, 1, 0, 0, *_CAUSE) if accounts.is_account(old_id) else None
        for old_id in batch["User"].keys
    ]


def _early_readings(batch: Batch, context: Context) -> list[Row | None]:
    """Who the prototype took for a customer is read before all others."""
    due_at = context.now - timedelta(hours=1)
    return [(context.accounts.of(old_id), due_at, 1, 0, 0, *_CAUSE) for old_id in batch["EntitlementState"].keys]


def _user_values(batch: Batch, context: Context) -> list[Row]:
    """SQLite counts rows in the order they came in: that is where the user put them."""
    rows = batch["UserValue"]
    return list(
        zip(
            rows.column("id"),
            map(context.accounts.of, rows.column("userId")),
            rows.column("valueId"),
            rows.column("valueText"),
            rows.column("rank"),
            rows.rowids,
            rows.instants("createdAt"),
            rows.instants("updatedAt"),
            strict=True,
        )
    )


def _preferences(batch: Batch, context: Context) -> list[Row | None]:
    return _one_an_account(batch["Preferences"], context.accounts, "schemaVersion", "json")


def _curation_profiles(batch: Batch, context: Context) -> list[Row | None]:
    wishes = ("primaryGoal", "voicePreference", "soundPreference")
    return _one_an_account(batch["CurationPreferences"], context.accounts, *wishes)


def _one_an_account(rows: Rows, accounts: Accounts, *columns: str) -> list[Row | None]:
    """Rows known by their user; of users that became one account, only the leading one's."""
    found = zip(
        map(accounts.of, rows.keys),
        *map(rows.column, columns),
        rows.instants("createdAt"),
        rows.instants("updatedAt"),
        strict=True,
    )
    return [row if accounts.leads(old_id) else None for old_id, row in zip(rows.keys, found, strict=True)]


def _listening_events(batch: Batch, context: Context) -> list[Row]:
    rows = batch["SessionEvent"]
    moments = rows.instants("occurredAt")
    return list(
        zip(
            map(event_number, rows.keys, moments),
            map(context.accounts.of, rows.column("userId")),
            map(session_id, rows.column("sessionId")),
            rows.column("eventType"),
            (None if text is None else object_as_jsonb(text) for text in rows.column("metadata")),
            moments,
            strict=True,
        )
    )


def event_number(old_id: str, moment: datetime | None) -> int:
    """Media numbers events from 1 as they come in: the prototype's stand before them, in the order they happened."""
    since = min(max(milliseconds(moment or EPOCH), 0), _LATEST_MS)
    return _BEFORE_ALL + (since << 20) + int.from_bytes(sha256(old_id.encode()).digest()[:4]) % 2**20


def _sessions(batch: Batch, context: Context) -> list[Row]:
    rows = batch["Session"]
    return list(
        zip(
            map(batch.ids.__getitem__, rows.keys),
            map(context.accounts.owner, rows.column("ownerUserId"), rows.column("source")),
            rows.column("source"),
            rows.column("title"),
            rows.column("goalTag"),
            rows.column("voiceId"),
            rows.column("frequencyHz"),
            rows.column("brainwaveState"),
            rows.column("solfeggioHz"),
            batch.lines_hashes.values(),
            (2 if _to_render(key, batch, context) else 1 for key in rows.keys),
            rows.instants("createdAt"),
            rows.instants("updatedAt"),
            strict=True,
        )
    )


def _session_lines(batch: Batch, _: Context) -> list[Row]:
    rows = batch.get("SessionAffirmation")
    if rows is None:
        return []
    ids = map(batch.ids.__getitem__, rows.column("sessionId"))
    return list(zip(ids, rows.column("idx"), rows.column("text"), strict=True))


def _session_audio(batch: Batch, context: Context) -> list[Row | None]:
    found: list[Row | None] = []
    for key, lines_hash in batch.lines_hashes.items():
        audio = context.audio.get(batch.ids[key])
        name, *measured = astuple(audio) if audio else (None,)
        found.append((batch.ids[key], name, lines_hash, *measured) if audio else None)
    return found


def _to_render(key: str, batch: Batch, context: Context) -> bool:
    """A session without a file gets one, if it has anything to say."""
    return key in batch.hashes and batch.ids[key] not in context.audio


def _owners(batch: Batch, context: Context) -> Iterable[tuple[str, str | None]]:
    rows = batch["Session"]
    return zip(rows.keys, map(context.accounts.owner, rows.column("ownerUserId"), rows.column("source")), strict=True)


def _jobs(batch: Batch, context: Context) -> list[Row | None]:
    now = context.now
    rest = ("pending", "waiting", 0, 0, now, now, now)
    return [
        (batch.job_ids[key], batch.ids[key], owner, batch.lines_hashes[key], *rest)
        if _to_render(key, batch, context)
        else None
        for key, owner in _owners(batch, context)
    ]


def _messages(batch: Batch, context: Context) -> list[Row | None]:
    """That a render job was recorded is told as always."""
    write = JobMessages(context.now)
    return [
        write(batch.job_ids[key], batch.ids[key], owner, batch.lines_hashes[key])
        if _to_render(key, batch, context)
        else None
        for key, owner in _owners(batch, context)
    ]


HOMES: dict[str, tuple[Home, ...]] = {
    "EntitlementState": (Home(REFRESH, "EntitlementState", _early_readings, proved=False),),
    "User": (Home(USER, "User", _users), Home(REFRESH, "User", _readings, proved=False)),
    "UserValue": (Home(USER_VALUE, "UserValue", _user_values),),
    "Preferences": (Home(PREFERENCES, "Preferences", _preferences),),
    "CurationPreferences": (Home(CURATION_PROFILE, "CurationPreferences", _curation_profiles),),
    "SessionEvent": (Home(LISTENING_EVENT, "SessionEvent", _listening_events),),
    "Session": (
        Home(SESSION, "Session", _sessions),
        Home(SESSION_LINE, "SessionAffirmation", _session_lines),
        Home(SESSION_AUDIO, "Session", _session_audio),
        Home(JOB, "Session", _jobs, proved=False),
        Home(OUTBOX, "Session", _messages, proved=False),
    ),
}
"""By the table that leads the batch. Parents come first."""
