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

    revenuecat_api_key: SecretStr = Field(
        min_length=1, description="RevenueCat dashboard, API keys: a secret key that may read and delete subscribers"
    )
    revenuecat_api_url: str = Field(
        "https://api.revenuecat.com", pattern=r"^https?://[^\s?#]+$", description="Where RevenueCat's REST API is"
    )
    revenuecat_webhook_authorization: SecretList = Field(
        (),
        description="RevenueCat dashboard, Integrations, Webhooks: the exact value of the Authorization header, at "
        "least 16 characters; comma separated while rotating. Make one: openssl rand -hex 32. Without it and without "
        "REVENUECAT_WEBHOOK_SECRETS billing does not start",
        examples=["Bearer …"],
    )
    revenuecat_webhook_secrets: SecretList = Field(
        (),
        description="The webhook's signing secrets, comma separated while rotating. Without one no signature is looked "
        "at, and the Authorization header alone proves the sender",
        examples=["whsec_…"],
    )
    revenuecat_entitlements: CommaList = Field(
        ("pro", "premium", "entrain_pro"),
        description="Entitlement identifiers that mean pro, comma separated, as the dashboard names them",
    )
    revenuecat_sandbox: str | None = Field(
        None,
        description="Who may use what was bought in a store's sandbox: `deny`, `allow`, or user ids, comma separated. "
        "Without it nobody in production, everybody in development",
        examples=["deny"],
    )
    revenuecat_requests_per_second: float = Field(
        5.0,
        gt=0,
        le=1000,
        description="Calls of the REST API per second and process; RevenueCat publishes no limit for this version of "
        "it",
    )

    revenuecat_raw_retention_days: int = Field(
        90, ge=1, le=3650, description="Days for which webhooks are kept as they came, personal data in them included"
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
