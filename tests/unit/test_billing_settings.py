"""What billing takes from its environment, and what it refuses to start with."""

import pytest
from pydantic import ValidationError

from billing.settings import BillingSettings
from tests.support.billing import settings


def test_without_any_way_to_know_the_sender_it_does_not_start() -> None:
    with pytest.raises(ValidationError, match="set REVENUECAT_WEBHOOK_AUTHORIZATION or REVENUECAT_WEBHOOK_SECRETS"):
        settings(revenuecat_webhook_authorization=(), revenuecat_webhook_secrets=())


@pytest.mark.parametrize("name", ["revenuecat_webhook_authorization", "revenuecat_webhook_secrets"])
def test_a_guessable_secret_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match=f"{name.upper()} must be at least 16 characters"):
        settings("postgresql://nowhere/db", **{name: ("long-enough-to-be-safe", "short")})


@pytest.mark.parametrize("key", ["", None])
def test_an_api_key_is_needed(key: str | None) -> None:
    with pytest.raises(ValidationError):
        settings(revenuecat_api_key=key)


@pytest.mark.parametrize(
    "url", ["https://api.test", "https://api.test/", "https://api.test/v1", "https://api.test/v1/"]
)
def test_the_address_may_be_given_with_its_version(url: str) -> None:
    assert settings(revenuecat_api_url=url).revenuecat_api_url == "https://api.test"


@pytest.mark.parametrize(
    "environment, choice, anybody, listed",
    [
        ("production", None, False, False),
        ("development", None, True, True),
        ("production", "allow", True, True),
        ("development", "Deny", False, False),
        ("production", "user_1, user_2", False, True),
    ],
)
def test_the_sandbox_is_open_to_whom_the_settings_name(
    environment: str, choice: str | None, anybody: bool, listed: bool
) -> None:
    users = settings(entrain_env=environment, revenuecat_sandbox=choice).sandbox_users
    assert ("somebody" in users, "user_2" in users) == (anybody, listed)


def test_lists_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "DATABASE_URL": "postgresql://nowhere/db",
        "GATEWAY_JWKS_URL": "http://gateway.test/jwks.json",
        "REVENUECAT_API_KEY": "sk_key",
        "REVENUECAT_WEBHOOK_SECRETS": "whsec_the_current_one, whsec_the_next_one_",
        "BILLING_REVENUECAT_ENTITLEMENTS": "gold, silver",
    }.items():
        monkeypatch.setenv(name, value)
    found = BillingSettings.load()
    assert [secret.get_secret_value() for secret in found.revenuecat_webhook_secrets] == [
        "whsec_the_current_one",
        "whsec_the_next_one_",
    ]
    assert found.rules.pro == {"gold", "silver"}
