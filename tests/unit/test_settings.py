"""Settings: complete or the process does not start, and what is wrong is said without a secret."""

import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar, Self

import pytest
from pydantic import Field, SecretStr, ValidationError, model_validator

from common.settings import (
    EXIT_BAD_SETTINGS,
    CommaList,
    DatabaseSettings,
    SecretList,
    read_as,
    require_strong,
)

SECRET = "hunter2-hunter2-hunter2"


class ShopSettings(DatabaseSettings):
    model_config = read_as("shop")
    service: ClassVar[str] = "shop"

    shop_limit: int = Field(5, ge=1, description="how many")
    origins: CommaList = Field((), description="who may call")
    webhook_secrets: SecretList = Field((), description="what signs")

    @model_validator(mode="after")
    def _strong(self) -> Self:
        require_strong("WEBHOOK_SECRETS", self.webhook_secrets)
        return self


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment with nothing of ours in it, in an empty folder."""
    names = {name.upper() for name in ShopSettings.model_fields}
    for name in list(os.environ):
        if name.removeprefix("SHOP_") in names or name in names:
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return monkeypatch


def complaints(capsys: pytest.CaptureFixture[str]) -> str:
    """What a bad set prints; it must end the process with 78 and print nothing elsewhere."""
    with pytest.raises(SystemExit) as ended:
        ShopSettings.load()
    assert ended.value.code == EXIT_BAD_SETTINGS == 78
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err


def test_defaults_are_for_production(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("DATABASE_URL", "postgresql://u@h/d")
    settings = ShopSettings.load()
    assert (settings.entrain_env, settings.log_format, settings.database_pooler) == ("production", "json", "none")
    assert (settings.shop_limit, settings.origins, settings.rabbitmq_url) == (5, (), None)
    assert settings.direct_url == "postgresql://u@h/d"


def test_a_name_with_the_services_prefix_wins(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("DATABASE_URL", "postgresql://shared@h/d")
    environment.setenv("SHOP_DATABASE_URL", "postgresql://own@h/d")
    environment.setenv("SHOP_LIMIT", "9")
    environment.setenv("OTHER_DATABASE_URL", "postgresql://other@h/d")
    settings = ShopSettings.load()
    assert settings.database_url.get_secret_value() == "postgresql://own@h/d"
    assert settings.shop_limit == 9


@pytest.mark.parametrize(
    "query, said",
    [
        ("sslmode=require&channel_binding=require", "take `channel_binding` out of the URL"),
        ("ssl=true", "write sslmode"),
        ("pgbouncer=true", "set DATABASE_POOLER=transaction"),
        ("sslmode=verified", "sslmode must be one of"),
        ("sslmode=verify-full", "needs sslrootcert"),
        ("sslmode=verify-full&sslrootcert=nowhere.pem", "a file that is there"),
        ("sslrootcert=system", "a file that is there"),
    ],
)
def test_a_url_that_asks_for_what_would_not_be_done_is_refused(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], query: str, said: str
) -> None:
    environment.setenv("DATABASE_URL", "postgresql://u@h/d")
    environment.setenv("DATABASE_DIRECT_URL", f"postgresql://u:{SECRET}@h/d?{query}")
    printed = complaints(capsys)
    assert "DATABASE_DIRECT_URL: " in printed
    assert said in printed
    assert SECRET not in printed


@pytest.mark.parametrize("query", ["", "sslmode=require", "sslmode=verify-full&sslrootcert=ca.pem&application_name=x"])
def test_a_url_that_can_be_obeyed_is_taken(environment: pytest.MonkeyPatch, query: str) -> None:
    Path("ca.pem").touch()
    environment.setenv("DATABASE_URL", f"postgresql://u@h/d?{query}")
    assert ShopSettings.load().direct_url.endswith(query)


def test_a_direct_url_is_used_for_what_a_pooler_cannot_do(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("DATABASE_URL", "postgresql://pooled@h/d")
    environment.setenv("DATABASE_DIRECT_URL", "postgresql://direct@h/d")
    assert ShopSettings.load().direct_url == "postgresql://direct@h/d"


def test_lists_are_split_at_commas_and_blanks_do_not_count(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("DATABASE_URL", "postgresql://u@h/d")
    environment.setenv("ORIGINS", " https://a.example ,, https://b.example,")
    environment.setenv("WEBHOOK_SECRETS", f"{SECRET},{SECRET}-next")
    settings = ShopSettings.load()
    assert settings.origins == ("https://a.example", "https://b.example")
    assert [secret.get_secret_value() for secret in settings.webhook_secrets] == [SECRET, f"{SECRET}-next"]


def test_an_empty_variable_is_an_absent_one(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("DATABASE_URL", "postgresql://u@h/d")
    for name in ("RABBITMQ_URL", "SHOP_LIMIT", "ORIGINS", "LOG_LEVEL"):
        environment.setenv(name, "")
    settings = ShopSettings.load()
    assert (settings.rabbitmq_url, settings.shop_limit, settings.log_level) == (None, 5, "info")


def test_what_is_missing_is_named(environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    printed = complaints(capsys)
    assert "shop: DATABASE_URL: Field required" in printed
    assert ".env.example" in printed


def test_every_fault_is_named_at_once_and_no_value_is_printed(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setenv("DATABASE_POOL_SIZE", SECRET)
    environment.setenv("DATABASE_POOLER", SECRET)
    environment.setenv("SHOP_LOG_LEVEL", SECRET)
    environment.setenv("SHOP_LIMIT", "0")
    printed = complaints(capsys)
    for name in ("DATABASE_URL", "DATABASE_POOL_SIZE", "DATABASE_POOLER", "LOG_LEVEL", "SHOP_LIMIT"):
        assert f"{name}:" in printed
    assert SECRET not in printed


def test_a_weak_secret_is_refused_unseen(environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    environment.setenv("DATABASE_URL", f"postgresql://u:{SECRET}@h/d")
    environment.setenv("WEBHOOK_SECRETS", f"{SECRET},changeme")
    printed = complaints(capsys)
    assert "WEBHOOK_SECRETS must be at least 16 characters" in printed
    assert "openssl rand" in printed
    assert "changeme" not in printed
    assert SECRET not in printed


def test_secrets_do_not_show_when_settings_are_printed() -> None:
    settings = ShopSettings(
        database_url=SecretStr(f"postgresql://u:{SECRET}@h/d"), webhook_secrets=(SecretStr(SECRET),)
    )
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings.model_dump())


def test_a_file_is_read_in_development_only(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(".env").write_text("DATABASE_URL=postgresql://file@h/d\nSHOP_LIMIT=7\n")
    assert "DATABASE_URL" in complaints(capsys)
    environment.setenv("ENTRAIN_ENV", "development")
    environment.setenv("SHOP_LIMIT", "8")
    settings = ShopSettings.load()
    assert settings.database_url.get_secret_value() == "postgresql://file@h/d"
    assert settings.shop_limit == 8


@pytest.mark.parametrize("command", ["worker", "migrate"])
def test_a_process_with_a_bad_set_ends_with_78_whatever_it_should_do(command: str, tmp_path: Path) -> None:
    given = {"PATH": os.environ["PATH"], "DATABASE_POOL_SIZE": SECRET}
    result = subprocess.run(
        [sys.executable, "-m", "identity", command],
        cwd=tmp_path, env=given, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == EXIT_BAD_SETTINGS
    assert "identity: DATABASE_URL: Field required" in result.stderr
    assert "identity: DATABASE_POOL_SIZE:" in result.stderr
    assert SECRET not in result.stderr
    assert "Traceback" not in result.stderr


def test_a_process_without_the_gateways_keys_does_not_start(tmp_path: Path) -> None:
    given = {"PATH": os.environ["PATH"], "DATABASE_URL": "postgresql://u@127.0.0.1:1/d"}
    result = subprocess.run(
        [sys.executable, "-m", "identity", "api"],
        cwd=tmp_path, env=given, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == EXIT_BAD_SETTINGS
    assert "GATEWAY_JWKS_URL" in result.stderr
    assert "GATEWAY_PUBLIC_KEYS" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("service", ["identity", "billing", "media"])
def test_a_process_given_keys_that_are_none_ends_with_78(service: str, tmp_path: Path) -> None:
    given = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": "postgresql://u@127.0.0.1:1/d",
        "GATEWAY_PUBLIC_KEYS": "not keys",
        "REVENUECAT_API_KEY": SECRET,
        "REVENUECAT_WEBHOOK_SECRETS": SECRET,
        "AWS_S3_BUCKET_NAME": "bucket",
    }
    result = subprocess.run(
        [sys.executable, "-m", service, "api"],
        cwd=tmp_path, env=given, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == EXIT_BAD_SETTINGS
    assert "GATEWAY_PUBLIC_KEYS" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_transaction_pooler_needs_a_direct_way_beside_it() -> None:
    pooled = SecretStr("postgresql://u@pooler/d")
    with pytest.raises(ValidationError, match="DATABASE_DIRECT_URL"):
        ShopSettings(database_url=pooled, database_pooler="transaction")
    direct = SecretStr("postgresql://u@db/d")
    settings = ShopSettings(database_url=pooled, database_pooler="transaction", database_direct_url=direct)
    assert settings.direct_url == "postgresql://u@db/d"
