"""What identity reads from its environment."""

from typing import ClassVar

from common.settings import DatabaseSettings, read_as


class IdentitySettings(DatabaseSettings):
    model_config = read_as("identity")
    service: ClassVar[str] = "identity"
