"""The prototype's eighteen tables: what each column may hold, what a row is known by, and what it refers to.

A file may lack tables and columns, because it was written by an earlier version, and may have others that nobody knows.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "integer", "real", "boolean", "instant"]
_KINDS: dict[str, Kind] = {"int": "integer", "real": "real", "bool": "boolean", "at": "instant"}


@dataclass(frozen=True, slots=True)
class LegacyColumn:
    name: str
    kind: Kind
    required: bool


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key. A row that ``needs`` its parent cannot live without it; another one keeps the id it had."""

    column: str
    table: str
    parent_key: str
    needs: bool


@dataclass(frozen=True, slots=True)
class Mention:
    """A text column in which a row of another table may be named, alone or within JSON; nothing holds it to that."""

    column: str
    table: str


@dataclass(frozen=True, slots=True)
class LegacyTable:
    name: str
    key: str
    columns: tuple[LegacyColumn, ...]
    references: tuple[Reference, ...] = ()
    unique: tuple[str, ...] = ()
    """Columns that only one row may have together, because the table that takes them knows rows by them."""
    mentions: tuple[Mention, ...] = ()
    later: tuple[str, ...] = ()
    """Columns that the table did not have from the beginning."""

    @property
    def needed(self) -> frozenset[str]:
        """Columns without which it is another table: it always had them, and they are never NULL or refer to rows."""
        always = {column.name for column in self.columns if column.required}
        return frozenset(always | {reference.column for reference in self.references}) - set(self.later)

    def column(self, name: str) -> LegacyColumn:
        return next(column for column in self.columns if column.name == name)


def _table(
    name: str, columns: str, references: str = "", unique: str = "", mentions: str = "", later: str = ""
) -> LegacyTable:
    """``columns``: `name`, `name:kind`, a ``?`` where NULL is allowed; text when no kind is given; the key first.

    ``references``: `column>Table.key`, with a ``?`` where the prototype set the column to NULL when its parent went.
    ``mentions``: `column>Table`.
    """
    read = tuple(_column(word) for word in columns.split())
    keys = tuple(_reference(word) for word in references.split())
    named = tuple(Mention(*word.split(">")) for word in mentions.split())
    return LegacyTable(name, read[0].name, read, keys, tuple(unique.split()), named, tuple(later.split()))


def _column(word: str) -> LegacyColumn:
    name, _, kind = word.removesuffix("?").partition(":")
    return LegacyColumn(name, _KINDS[kind] if kind else "text", not word.endswith("?"))


def _reference(word: str) -> Reference:
    column, _, parent = word.removesuffix("?").partition(">")
    table, _, key = parent.partition(".")
    return Reference(column, table, key, not word.endswith("?"))


TABLES: tuple[LegacyTable, ...] = (
    _table("User", "id email struggle? createdAt:at updatedAt:at", later="struggle"),
    _table("Preferences", "userId schemaVersion:int json createdAt:at updatedAt:at", "userId>User.id"),
    _table("UserValue", "id userId valueId valueText rank:int? createdAt:at updatedAt:at", "userId>User.id"),
    _table(
        "CurationPreferences",
        "userId primaryGoal? voicePreference? soundPreference? createdAt:at updatedAt:at",
        "userId>User.id",
    ),
    _table(
        "UserPath",
        "id userId pathId pathName stepIndex:int totalSteps:int lastCompletedAt:at? lastActionDone:bool selfRating:int?"
        " isActive:bool createdAt:at updatedAt:at",
        "userId>User.id",
    ),
    _table("EntitlementState", "userId plan status renewsAt:at? source? updatedAt:at", "userId>User.id"),
    _table("EntitlementEvent", "id userId provider type payloadJson occurredAt:at", "userId>User.id"),
    _table(
        "Session",
        "id ownerUserId? source title goalTag? durationSec:int? voiceId pace? affirmationSpacingMs:int?"
        " affirmationsHash frequencyHz:real? brainwaveState? solfeggioHz:real? createdAt:at updatedAt:at",
        "ownerUserId>User.id?",
        later="frequencyHz brainwaveState solfeggioHz",
    ),
    _table(
        "SessionAffirmation",
        "id sessionId idx:int text moderationStatus moderationReason? moderatedBy? moderatedAt:at? originalText?"
        " autoFlagged:bool",
        "sessionId>Session.id",
        unique="sessionId idx",
        later="moderationStatus moderationReason moderatedBy moderatedAt originalText autoFlagged",
    ),
    _table("AudioAsset", "id kind hash url metaJson? createdAt:at"),
    _table(
        "SessionAudio",
        "sessionId mergedAudioAssetId generatedAt:at",
        "sessionId>Session.id mergedAudioAssetId>AudioAsset.id",
    ),
    _table(
        "SessionAudioAsset",
        "id sessionId kind lineIndex:int? storageKey audioAssetId? durationMs:int? codec? sampleRate:int? channels:int?"
        " fileSize:int? checksum? createdAt:at",
        "sessionId>SessionAudio.sessionId audioAssetId>AudioAsset.id?",
    ),
    _table(
        "SessionEvent",
        "id userId sessionId eventType metadata? occurredAt:at",
        "userId>User.id sessionId>Session.id",
    ),
    _table(
        "Job",
        "id type status payload result? error? attempts:int startedAt:at? finishedAt:at? sessionId? userId?"
        " createdAt:at updatedAt:at",
        mentions="userId>User sessionId>Session payload>Session result>Session",
        later="attempts startedAt finishedAt sessionId userId",
    ),
    _table(
        "AdminUser",
        "id email passwordHash role name? isActive:bool lastLoginAt:at? createdAt:at updatedAt:at",
    ),
    _table(
        "AuditLog",
        "id adminUserId action resourceType resourceId? details? ipAddress? userAgent? createdAt:at",
        "adminUserId>AdminUser.id",
        mentions="resourceId>User resourceId>Session details>User details>Session",
    ),
    _table("AISourcePromptTemplate", "id name description? currentVersion:int createdAt:at updatedAt:at"),
    _table(
        "AISourceVersion",
        "id promptTemplateId version:int name content model? voice? cachingPolicy? rolloutPercent:int isActive:bool"
        " isTest:bool createdBy? createdAt:at activatedAt:at?",
        "promptTemplateId>AISourcePromptTemplate.id",
    ),
)
"""Parents before those that refer to them."""

ASSET_USES = (("SessionAudio", "mergedAudioAssetId"), ("SessionAudioAsset", "audioAssetId"))
"""Tables and columns that refer to an AudioAsset: it belongs to whom these rows do."""

BY_NAME = {table.name: table for table in TABLES}
