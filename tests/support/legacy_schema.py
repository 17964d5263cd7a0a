"""The prototype's SQLite schema as its own migrations made it, step by step."""

_TIMES = '"createdAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP, "updatedAt" DATETIME NOT NULL'

INIT = f"""
CREATE TABLE "User" ("id" TEXT NOT NULL PRIMARY KEY, "email" TEXT NOT NULL, {_TIMES});
CREATE UNIQUE INDEX "User_email_key" ON "User"("email");
CREATE TABLE "Preferences" ("userId" TEXT NOT NULL PRIMARY KEY, "schemaVersion" INTEGER NOT NULL, "json" TEXT NOT NULL,
    {_TIMES}, FOREIGN KEY ("userId") REFERENCES "User" ("id") ON DELETE CASCADE);
CREATE TABLE "Session" ("id" TEXT NOT NULL PRIMARY KEY, "ownerUserId" TEXT, "source" TEXT NOT NULL,
    "title" TEXT NOT NULL, "goalTag" TEXT, "durationSec" INTEGER, "voiceId" TEXT NOT NULL, "pace" TEXT,
    "affirmationSpacingMs" INTEGER, "affirmationsHash" TEXT NOT NULL, {_TIMES},
    FOREIGN KEY ("ownerUserId") REFERENCES "User" ("id") ON DELETE SET NULL);
CREATE INDEX "Session_ownerUserId_idx" ON "Session"("ownerUserId");
CREATE TABLE "SessionAffirmation" ("id" TEXT NOT NULL PRIMARY KEY, "sessionId" TEXT NOT NULL, "idx" INTEGER NOT NULL,
    "text" TEXT NOT NULL, FOREIGN KEY ("sessionId") REFERENCES "Session" ("id") ON DELETE CASCADE);
CREATE UNIQUE INDEX "SessionAffirmation_sessionId_idx_key" ON "SessionAffirmation"("sessionId", "idx");
CREATE TABLE "AudioAsset" ("id" TEXT NOT NULL PRIMARY KEY, "kind" TEXT NOT NULL, "hash" TEXT NOT NULL,
    "url" TEXT NOT NULL, "metaJson" TEXT, "createdAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP);
CREATE UNIQUE INDEX "AudioAsset_kind_hash_key" ON "AudioAsset"("kind", "hash");
CREATE TABLE "SessionAudio" ("sessionId" TEXT NOT NULL PRIMARY KEY, "mergedAudioAssetId" TEXT NOT NULL,
    "generatedAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY ("sessionId") REFERENCES "Session" ("id") ON DELETE CASCADE,
    FOREIGN KEY ("mergedAudioAssetId") REFERENCES "AudioAsset" ("id") ON DELETE RESTRICT);
CREATE TABLE "EntitlementState" ("userId" TEXT NOT NULL PRIMARY KEY, "plan" TEXT NOT NULL, "status" TEXT NOT NULL,
    "renewsAt" DATETIME, "source" TEXT, "updatedAt" DATETIME NOT NULL,
    FOREIGN KEY ("userId") REFERENCES "User" ("id") ON DELETE CASCADE);
CREATE TABLE "EntitlementEvent" ("id" TEXT NOT NULL PRIMARY KEY, "userId" TEXT NOT NULL, "provider" TEXT NOT NULL,
    "type" TEXT NOT NULL, "payloadJson" TEXT NOT NULL, "occurredAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY ("userId") REFERENCES "User" ("id") ON DELETE CASCADE);
CREATE TABLE "Job" ("id" TEXT NOT NULL PRIMARY KEY, "type" TEXT NOT NULL, "status" TEXT NOT NULL,
    "payload" TEXT NOT NULL, "result" TEXT, "error" TEXT, {_TIMES});
"""
USER_VALUES = f"""
CREATE TABLE "UserValue" ("id" TEXT NOT NULL PRIMARY KEY, "userId" TEXT NOT NULL, "valueId" TEXT NOT NULL,
    "valueText" TEXT NOT NULL, "rank" INTEGER, {_TIMES},
    FOREIGN KEY ("userId") REFERENCES "User" ("id") ON DELETE CASCADE);
"""
STRUGGLE = 'ALTER TABLE "User" ADD COLUMN "struggle" TEXT;'
FREQUENCY = (
    'ALTER TABLE "Session" ADD COLUMN "frequencyHz" REAL; ALTER TABLE "Session" ADD COLUMN "brainwaveState" TEXT;'
)
ADMIN = f"""
CREATE TABLE "AdminUser" ("id" TEXT NOT NULL PRIMARY KEY, "email" TEXT NOT NULL, "passwordHash" TEXT NOT NULL,
    "role" TEXT NOT NULL, "name" TEXT, "isActive" BOOLEAN NOT NULL DEFAULT true, "lastLoginAt" DATETIME, {_TIMES});
CREATE UNIQUE INDEX "AdminUser_email_key" ON "AdminUser"("email");
CREATE TABLE "AuditLog" ("id" TEXT NOT NULL PRIMARY KEY, "adminUserId" TEXT NOT NULL, "action" TEXT NOT NULL,
    "resourceType" TEXT NOT NULL, "resourceId" TEXT, "details" TEXT, "ipAddress" TEXT, "userAgent" TEXT,
    "createdAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY ("adminUserId") REFERENCES "AdminUser" ("id") ON DELETE CASCADE);
"""
JOB_FIELDS = """
ALTER TABLE "Job" ADD COLUMN "attempts" INTEGER NOT NULL DEFAULT 0;
ALTER TABLE "Job" ADD COLUMN "startedAt" DATETIME;
ALTER TABLE "Job" ADD COLUMN "finishedAt" DATETIME;
ALTER TABLE "Job" ADD COLUMN "sessionId" TEXT;
ALTER TABLE "Job" ADD COLUMN "userId" TEXT;
"""
AUDIO_ASSETS = """
CREATE TABLE "SessionAudioAsset" ("id" TEXT NOT NULL PRIMARY KEY, "sessionId" TEXT NOT NULL, "kind" TEXT NOT NULL,
    "lineIndex" INTEGER, "storageKey" TEXT NOT NULL, "audioAssetId" TEXT, "durationMs" INTEGER, "codec" TEXT,
    "sampleRate" INTEGER, "channels" INTEGER, "fileSize" INTEGER, "checksum" TEXT,
    "createdAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY ("sessionId") REFERENCES "SessionAudio" ("sessionId") ON DELETE CASCADE,
    FOREIGN KEY ("audioAssetId") REFERENCES "AudioAsset" ("id") ON DELETE SET NULL);
"""
PROMPTS = f"""
CREATE TABLE "AISourcePromptTemplate" ("id" TEXT NOT NULL PRIMARY KEY, "name" TEXT NOT NULL, "description" TEXT,
    "currentVersion" INTEGER NOT NULL DEFAULT 1, {_TIMES});
CREATE TABLE "AISourceVersion" ("id" TEXT NOT NULL PRIMARY KEY, "promptTemplateId" TEXT NOT NULL,
    "version" INTEGER NOT NULL, "name" TEXT NOT NULL, "content" TEXT NOT NULL, "model" TEXT, "voice" TEXT,
    "cachingPolicy" TEXT, "rolloutPercent" INTEGER NOT NULL DEFAULT 0, "isActive" BOOLEAN NOT NULL DEFAULT false,
    "isTest" BOOLEAN NOT NULL DEFAULT false, "createdBy" TEXT,
    "createdAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP, "activatedAt" DATETIME,
    FOREIGN KEY ("promptTemplateId") REFERENCES "AISourcePromptTemplate" ("id") ON DELETE CASCADE);
"""
MODERATION = """
ALTER TABLE "SessionAffirmation" ADD COLUMN "moderationStatus" TEXT NOT NULL DEFAULT 'pending';
ALTER TABLE "SessionAffirmation" ADD COLUMN "moderationReason" TEXT;
ALTER TABLE "SessionAffirmation" ADD COLUMN "moderatedBy" TEXT;
ALTER TABLE "SessionAffirmation" ADD COLUMN "moderatedAt" DATETIME;
ALTER TABLE "SessionAffirmation" ADD COLUMN "originalText" TEXT;
ALTER TABLE "SessionAffirmation" ADD COLUMN "autoFlagged" BOOLEAN NOT NULL DEFAULT false;
"""
SOLFEGGIO = 'ALTER TABLE "Session" ADD COLUMN "solfeggioHz" REAL;'
CURATION = f"""
CREATE TABLE "SessionEvent" ("id" TEXT NOT NULL PRIMARY KEY, "userId" TEXT NOT NULL, "sessionId" TEXT NOT NULL,
    "eventType" TEXT NOT NULL, "metadata" TEXT, "occurredAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY ("userId") REFERENCES "User" ("id") ON DELETE CASCADE);
CREATE TABLE "CurationPreferences" ("userId" TEXT NOT NULL PRIMARY KEY, "primaryGoal" TEXT, "voicePreference" TEXT,
    "soundPreference" TEXT, {_TIMES}, FOREIGN KEY ("userId") REFERENCES "User" ("id") ON DELETE CASCADE);
CREATE TABLE "UserPath" ("id" TEXT NOT NULL PRIMARY KEY, "userId" TEXT NOT NULL, "pathId" TEXT NOT NULL,
    "pathName" TEXT NOT NULL, "stepIndex" INTEGER NOT NULL DEFAULT 0, "totalSteps" INTEGER NOT NULL,
    "lastCompletedAt" DATETIME, "lastActionDone" BOOLEAN NOT NULL DEFAULT false, "selfRating" INTEGER,
    "isActive" BOOLEAN NOT NULL DEFAULT true, {_TIMES},
    FOREIGN KEY ("userId") REFERENCES "User" ("id") ON DELETE CASCADE);
"""

STEPS = {
    "20251213064853_init": INIT,
    "20251215214448_add_user_values": USER_VALUES,
    "20251215215649_add_user_struggle": STRUGGLE,
    "20251215220440_add_session_frequency_fields": FREQUENCY,
    "20251224042109_add_admin_tables": ADMIN,
    "20251224050954_add_job_fields": JOB_FIELDS,
    "20251224052026_add_session_audio_assets": AUDIO_ASSETS,
    "20251224061307_add_ai_source_versioning": PROMPTS,
    "20251224070922_add_moderation_fields": MODERATION,
    "20250115000000_add_solfeggio_support": SOLFEGGIO,
    "20250115000001_add_curation_tracking": CURATION,
}
"""In the order they were applied, which is not that of their names."""
GENERATIONS = (1, 4, 9, 11)
"""How many of them the files that are around have seen."""
BOOKKEEPING = """
CREATE TABLE "_prisma_migrations" ("id" TEXT PRIMARY KEY NOT NULL, "checksum" TEXT NOT NULL, "finished_at" DATETIME,
    "migration_name" TEXT NOT NULL, "logs" TEXT, "rolled_back_at" DATETIME, "started_at" DATETIME NOT NULL,
    "applied_steps_count" INTEGER UNSIGNED NOT NULL DEFAULT 0);
"""
