"""What identity reads from its environment."""

from typing import ClassVar, Self

from pydantic import model_validator

from common.internal_tokens import internal_token_verifier
from common.settings import DatabaseSettings, read_as


class IdentitySettings(DatabaseSettings):
    model_config = read_as("identity")
    service: ClassVar[str] = "identity"

    @model_validator(mode="after")
    def _can_verify_callers(self) -> Self:
        internal_token_verifier(self, self.service)
        return self
