"""What the migration reads from the environment: the databases, by the names the services know, and the bucket.

`LEGACY_DATABASE_URL` before `DATABASE_URL` is where the archive goes.
"""

import os
from typing import TYPE_CHECKING, ClassVar

from common.settings import DatabaseSettings, read_as

if TYPE_CHECKING:
    from media.settings import MediaSettings


class _Identity(DatabaseSettings):
    model_config = read_as("identity")
    service: ClassVar[str] = "identity"


class _Billing(DatabaseSettings):
    model_config = read_as("billing")
    service: ClassVar[str] = "billing"


class _Media(DatabaseSettings):
    model_config = read_as("media")
    service: ClassVar[str] = "media"


class _Legacy(DatabaseSettings):
    model_config = read_as("legacy")
    service: ClassVar[str] = "legacy"


class Databases:
    """A direct address for each schema. A bad set is explained and ends the process with 78."""

    def __init__(self) -> None:
        self._settings = {settings.service: settings.load() for settings in (_Identity, _Billing, _Media, _Legacy)}

    def urls(self) -> dict[str, str]:
        return {schema: settings.direct_url for schema, settings in self._settings.items()}


def bucket_settings() -> "MediaSettings | None":
    """Media's settings of the store; None where no bucket is named."""
    if not (os.environ.get("MEDIA_AWS_S3_BUCKET_NAME") or os.environ.get("AWS_S3_BUCKET_NAME")):
        return None
    from media.settings import MediaSettings  # without a bucket it is not needed, and slow to load

    return MediaSettings.load()
