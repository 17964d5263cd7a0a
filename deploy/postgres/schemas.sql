-- A login role and a schema for each service, one of each for the archive of the migration (`legacy`), and nothing else for
-- anyone. Run once per database as its owner, safe to repeat:
--   psql "$ADMIN_URL" -v identity_password=… -v billing_password=… -v media_password=… -v legacy_password=… \
--     -f deploy/postgres/schemas.sql
-- A role owns its schema alone; it can neither see into another's nor create schemas of its own.

DO $$ BEGIN CREATE ROLE identity; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
DO $$ BEGIN CREATE ROLE billing; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
DO $$ BEGIN CREATE ROLE media; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
DO $$ BEGIN CREATE ROLE legacy; EXCEPTION WHEN duplicate_object THEN NULL; END $$;

ALTER ROLE identity WITH LOGIN NOCREATEDB NOCREATEROLE PASSWORD :'identity_password';
ALTER ROLE billing WITH LOGIN NOCREATEDB NOCREATEROLE PASSWORD :'billing_password';
ALTER ROLE media WITH LOGIN NOCREATEDB NOCREATEROLE PASSWORD :'media_password';
ALTER ROLE legacy WITH LOGIN NOCREATEDB NOCREATEROLE PASSWORD :'legacy_password';

-- Only a superuser may say NOSUPERUSER, and a managed database's owner is none: it can but look.
DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolsuper AND rolname IN ('identity', 'billing', 'media', 'legacy')) THEN
RAISE EXCEPTION 'the role of a service is a superuser: ALTER ROLE … NOSUPERUSER'; END IF; END $$;

-- It must be a member of a role to make a schema in its name.
DO $$ BEGIN EXECUTE format('GRANT identity, billing, media, legacy TO %I', current_user);
EXCEPTION WHEN invalid_grant_operation THEN NULL; END $$;

CREATE SCHEMA IF NOT EXISTS identity AUTHORIZATION identity;
CREATE SCHEMA IF NOT EXISTS billing AUTHORIZATION billing;
CREATE SCHEMA IF NOT EXISTS media AUTHORIZATION media;
CREATE SCHEMA IF NOT EXISTS legacy AUTHORIZATION legacy;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
DO $$ BEGIN EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
EXECUTE format('GRANT CONNECT ON DATABASE %I TO identity, billing, media, legacy', current_database()); END $$;
