"""Media refuses to start on settings that would fail later, and says which and why."""

from collections.abc import Mapping

import pytest

from common.settings import EXIT_BAD_SETTINGS
from embedded.kept_files import new_p256_key, new_rsa_key, private_pem, public_pem
from media.settings import MediaSettings

COMPLETE = {
    "DATABASE_URL": "postgresql://media@db/entrain",
    "AWS_S3_BUCKET_NAME": "entrain-audio",
    "GATEWAY_JWKS_URL": "http://gateway:8887/.well-known/jwks.json",
    "PUBLIC_URL": "https://api.example.com",
}
PEM = private_pem(new_p256_key())
CDN = {"CLOUDFRONT_DOMAIN": "cdn.example.com", "CLOUDFRONT_KEY_PAIR_ID": "K1", "CLOUDFRONT_PRIVATE_KEY": PEM}


@pytest.fixture(autouse=True)
def _nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in MediaSettings.model_fields:
        for spelled in (name.upper(), f"MEDIA_{name.upper()}"):
            monkeypatch.delenv(spelled, raising=False)


def loaded(monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str]) -> MediaSettings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return MediaSettings.load()


def test_defaults_are_those_of_production(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, COMPLETE)
    assert (settings.media_free_tier, settings.media_free_daily_sessions) == ("catalog", 2)
    assert (settings.media_url_ttl_seconds, settings.media_job_lease_seconds) == (86400, 20)
    assert settings.aws_endpoint_url_s3 is None
    assert settings.entrain_env == "production"


def test_a_cdn_and_an_s3_server_of_ones_own_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9000",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }
    settings = loaded(monkeypatch, {**COMPLETE, **CDN, **own, "MEDIA_FREE_TIER": "create"})
    assert settings.media_free_tier == "create"
    assert settings.cloudfront_domain == "cdn.example.com"
    assert "BEGIN" not in repr(settings)


def test_a_name_with_the_services_prefix_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"MEDIA_DATABASE_URL": "postgresql://media@other/entrain"}
    assert loaded(monkeypatch, {**COMPLETE, **own}).database_url.get_secret_value().endswith("@other/entrain")


@pytest.mark.parametrize(
    "change,named,said",
    [
        ({"AWS_S3_BUCKET_NAME": ""}, "AWS_S3_BUCKET_NAME", "required"),
        ({"PUBLIC_URL": "api.example.com"}, "PUBLIC_URL", "match"),
        ({"PUBLIC_URL": "https://api.example.com/v1"}, "PUBLIC_URL", "match"),
        ({"AWS_ACCESS_KEY_ID": "key"}, "settings", "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ENDPOINT_URL_S3": "127.0.0.1:9000"}, "AWS_ENDPOINT_URL_S3", "match"),
        ({"CLOUDFRONT_KEY_PAIR_ID": "K1"}, "settings", "CLOUDFRONT_PRIVATE_KEY"),
        ({**CDN, "CLOUDFRONT_DOMAIN": ""}, "settings", "CLOUDFRONT_DOMAIN"),
        ({**CDN, "CLOUDFRONT_DOMAIN": "cdn.example.com/audio"}, "CLOUDFRONT_DOMAIN", "match"),
        ({**CDN, "CLOUDFRONT_PRIVATE_KEY": "secret-but-no-pem"}, "CLOUDFRONT_PRIVATE_KEY", "PEM"),
        ({**CDN, "CLOUDFRONT_PRIVATE_KEY": public_pem(new_rsa_key())}, "CLOUDFRONT_PRIVATE_KEY", "PEM"),
        ({"MEDIA_URL_TTL_SECONDS": "604801"}, "MEDIA_URL_TTL_SECONDS", "604800"),
        ({"MEDIA_FREE_TIER": "all"}, "MEDIA_FREE_TIER", "catalog"),
        ({"MEDIA_FREE_DAILY_SESSIONS": "-1"}, "MEDIA_FREE_DAILY_SESSIONS", "0"),
        ({"MEDIA_JOB_LEASE_SECONDS": "1"}, "MEDIA_JOB_LEASE_SECONDS", "5"),
        ({"GATEWAY_PUBLIC_KEYS": "{"}, "settings", "GATEWAY_PUBLIC_KEYS"),
    ],
)
def test_what_cannot_work_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: Mapping[str, str],
    named: str,
    said: str,
) -> None:
    with pytest.raises(SystemExit) as ended:
        loaded(monkeypatch, {**COMPLETE, **change})
    assert ended.value.code == EXIT_BAD_SETTINGS
    first, *_ = capsys.readouterr().err.splitlines()
    assert first.startswith(f"media: {named}: ")
    assert said in first
    assert "secret-but-no-pem" not in first
