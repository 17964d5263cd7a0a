"""What identity reads from its environment."""

from typing import Annotated, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, StringConstraints, model_validator

from common.settings import DatabaseSettings, SecretList, read_as
from identity.svix import SHORTEST_SECRET, SvixProof, key_of

Origin = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#@]+$")]
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class IdentitySettings(DatabaseSettings):
    model_config = read_as("identity")
    service: ClassVar[str] = "identity"

    clerk_secret_key: SecretStr | None = Field(
        None,
        description="Clerk dashboard, API keys: the secret key. Reads the addresses of users that no webhook has told "
        "of, and deletes users at Clerk who delete their account. Without it neither happens",
        examples=["sk_live_…"],
    )
    clerk_api_url: Origin = Field("https://api.clerk.com", description="Where Clerk's Backend API is, without /v1")
    clerk_webhook_signing_secrets: SecretList = Field(
        (),
        description="Clerk dashboard, Webhooks: the endpoint's signing secret; comma separated while rotating. "
        "Subscribe the endpoint to user.* and session.* and point it at <PUBLIC_URL>/webhooks/clerk. Without one no "
        "webhook is taken: sign-outs, changed addresses and deletions at Clerk stay unknown",
        examples=["whsec_…"],
    )
    clerk_instance_id: Annotated[str, StringConstraints(pattern=r"^ins_[A-Za-z0-9]{1,64}$")] | None = Field(
        None,
        description="Clerk dashboard, Settings: the instance's id; webhooks of any other instance are refused. "
        "Without it the signing secret alone tells whose they are",
        examples=["ins_…"],
    )
    billing_url: Origin = Field(
        "http://127.0.0.1:8702", description="Identity asks it for the subscription and the export of a user"
    )
    media_url: Origin = Field("http://127.0.0.1:8703", description="Identity asks it for the export of a user")

    @model_validator(mode="after")
    def _can_tell_who_sends(self) -> Self:
        try:
            keys = [key_of(secret.get_secret_value()) for secret in self.clerk_webhook_signing_secrets]
        except ValueError as error:
            raise ValueError(f"CLERK_WEBHOOK_SIGNING_SECRETS: {error}") from None
        if any(len(key) < SHORTEST_SECRET for key in keys):
            raise ValueError(f"CLERK_WEBHOOK_SIGNING_SECRETS must hold at least {SHORTEST_SECRET} bytes each")
        api = urlsplit(self.clerk_api_url)
        if self.clerk_secret_key and api.scheme != "https" and api.hostname not in _LOOPBACK:
            raise ValueError("CLERK_API_URL must be https: the secret key is sent there")
        return self

    def webhook_proof(self) -> SvixProof:
        return SvixProof([secret.get_secret_value() for secret in self.clerk_webhook_signing_secrets])
