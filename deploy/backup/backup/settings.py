"""What the two commands read from the environment. They are given different databases, so they read different names."""

from typing import ClassVar

from pydantic import Field, SecretStr

from common.settings import DatabaseUrl, Settings, read_as


class BackupSettings(Settings):
    """``BACKUP_DATABASE_URL`` before ``DATABASE_URL``."""

    model_config = read_as("backup")
    service: ClassVar[str] = "backup"
    described_in: ClassVar[str] = "docs/backups.md"

    database_url: DatabaseUrl = Field(description="direct URL of a role that may read every schema")
    aws_s3_bucket_name: str | None = Field(None, description="the bucket of the audio; only its name is noted")


class RestoreSettings(Settings):
    """``RESTORE_DATABASE_URL`` before ``DATABASE_URL``; what is left out of the store is as AWS's own tools find it."""

    model_config = read_as("restore")
    service: ClassVar[str] = "restore"
    described_in: ClassVar[str] = "docs/backups.md"

    database_url: DatabaseUrl = Field(description="direct URL of the owner of an empty database, who may make roles")
    identity_database_password: SecretStr = Field(description="the password that the role `identity` gets")
    billing_database_password: SecretStr = Field(description="the password that the role `billing` gets")
    media_database_password: SecretStr = Field(description="the password that the role `media` gets")
    legacy_database_password: SecretStr = Field(description="the password that the role `legacy` gets")
    aws_s3_bucket_name: str | None = Field(None, description="the bucket of the audio")
    aws_region: str | None = Field(None, description="the bucket's region")
    aws_access_key_id: SecretStr | None = Field(None, description="a key that may read the bucket")
    aws_secret_access_key: SecretStr | None = Field(None, description="the secret of that key")
    aws_endpoint_url_s3: str | None = Field(None, description="the address of another store than AWS's")

    @property
    def role_passwords(self) -> dict[str, SecretStr]:
        """By the names under which deploy/postgres/passwords.sql reads them."""
        names = [name for name in type(self).model_fields if name.endswith("_database_password")]
        return {name.upper(): getattr(self, name) for name in names}
