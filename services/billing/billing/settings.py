"""What billing reads from its environment."""

from datetime import timedelta
from typing import ClassVar, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from billing.entitlement import EVERYBODY, NOBODY, Rules, SandboxUsers
from common.internal_tokens import internal_token_verifier
from common.settings import CommaList, DatabaseSettings, SecretList, read_as, require_strong


class BillingSettings(DatabaseSettings):
    model_config = read_as("billing")
    service: ClassVar[str] = "billing"

    revenuecat_api_key: SecretStr = Field(min_length=1, description="key of RevenueCat's REST API v1")
    revenuecat_api_url: str = Field(
        "https://api.revenuecat.com", pattern=r"^https?://[^\s?#]+$", description="where the REST API is, without `/v1`"
    )
    revenuecat_webhook_authorization: SecretList = Field(
        (), description="exact value of the webhook's Authorization header; several while rotating"
    )
    revenuecat_webhook_secrets: SecretList = Field(
        (), description="signing secrets of the webhook; several while rotating. This or the value above must be set"
    )
    revenuecat_entitlements: CommaList = Field(
        ("pro", "premium", "entrain_pro"), description="entitlement identifiers that mean pro"
    )
    revenuecat_sandbox: str | None = Field(
        None,
        description="`deny`, `allow`, or the user ids that may use sandbox purchases; default: `deny` in production, "
        "`allow` in development",
    )
    revenuecat_requests_per_second: float = Field(
        5.0, gt=0, le=1000, description="calls of the REST API per second and process"
    )

    revenuecat_raw_retention_days: int = Field(
        90, ge=1, le=3650, description="days for which webhooks are kept as they came, personal data in them included"
    )

    @field_validator("revenuecat_api_url")
    @classmethod
    def _without_version(cls, value: str) -> str:
        return value.rstrip("/").removesuffix("/v1")

    @model_validator(mode="after")
    def _can_tell_who_sends(self) -> Self:
        if not (self.revenuecat_webhook_authorization or self.revenuecat_webhook_secrets):
            raise ValueError("set REVENUECAT_WEBHOOK_AUTHORIZATION or REVENUECAT_WEBHOOK_SECRETS, or both")
        require_strong("REVENUECAT_WEBHOOK_AUTHORIZATION", self.revenuecat_webhook_authorization)
        require_strong("REVENUECAT_WEBHOOK_SECRETS", self.revenuecat_webhook_secrets)
        if not self.revenuecat_entitlements:
            raise ValueError("REVENUECAT_ENTITLEMENTS must name at least one entitlement")
        internal_token_verifier(self, self.service)
        return self

    @property
    def sandbox_users(self) -> SandboxUsers:
        """Who may use what was bought in a store's sandbox."""
        choice = self.revenuecat_sandbox or ("allow" if self.entrain_env == "development" else "deny")
        if choice.strip().lower() in ("allow", "deny"):
            return EVERYBODY if choice.strip().lower() == "allow" else NOBODY
        return SandboxUsers(frozenset(part.strip() for part in choice.split(",") if part.strip()))

    @property
    def raw_retention(self) -> timedelta:
        return timedelta(days=self.revenuecat_raw_retention_days)

    @property
    def rules(self) -> Rules:
        return Rules(frozenset(self.revenuecat_entitlements), self.sandbox_users)
