-- The role passwords of schemas.sql from the environment, for a one-shot container. For psql 15 and later, before schemas.sql.
\getenv identity_password IDENTITY_DATABASE_PASSWORD
\getenv billing_password BILLING_DATABASE_PASSWORD
\getenv media_password MEDIA_DATABASE_PASSWORD
\getenv legacy_password LEGACY_DATABASE_PASSWORD
