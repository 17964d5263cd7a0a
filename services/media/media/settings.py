"""What media reads from the environment."""

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from common.internal_tokens import internal_token_verifier
from common.settings import DatabaseSettings, read_as
from media.kokoro_pieces import missing_pieces
from media.signing_keys import signing_key

_ORIGIN = r"^https?://[^/\s]+/?$"
_API = r"^https?://[^/\s]+(/[^\s?#]*)?$"


Engine = Literal["hibari", "kokoro", "openai", "elevenlabs"]


class MediaSettings(DatabaseSettings):
    model_config = read_as("media")
    service: ClassVar[str] = "media"

    aws_access_key_id: SecretStr | None = Field(None, description="S3 key id; default: the machine's own role")
    aws_secret_access_key: SecretStr | None = Field(None, description="S3 secret key; goes with the key id")
    aws_region: str = Field("us-east-1", description="the bucket's region")
    aws_s3_bucket_name: str = Field(min_length=3, description="private bucket of all audio")
    aws_endpoint_url_s3: str | None = Field(
        None, pattern=_ORIGIN, description="address of an S3-compatible server; default: AWS"
    )
    aws_s3_encrypt: bool = Field(
        False, description="ask for SSE-S3 (AES256) with every object; default: as the bucket is set"
    )
    aws_s3_kms_key_id: str | None = Field(None, min_length=1, description="KMS key that encrypts every object: SSE-KMS")
    cloudfront_domain: str | None = Field(
        None, pattern=r"^(https?://)?[^/\s]+/?$", description="host of every audio URL; a full origin for tests"
    )
    cloudfront_key_pair_id: str | None = Field(None, description="id of the public key the CDN trusts")
    cloudfront_private_key: SecretStr | None = Field(None, description="PEM (RSA or EC P-256) that signs audio URLs")
    media_url_ttl_seconds: int = Field(86400, ge=60, le=604800, description="how long an audio URL stays good")
    openai_api_key: SecretStr | None = Field(
        None, description="key of the language model; without one affirmations are composed offline"
    )
    openai_base_url: str = Field(
        "https://api.openai.com/v1", pattern=_API, description="where an OpenAI-compatible API is, with its /v1"
    )
    openai_model: str = Field("gpt-4.1-mini", min_length=1, description="the chat model that writes affirmations")
    openai_moderation: bool = Field(
        True, description="whether the provider also judges what is written; the word rules always do"
    )
    openai_speech_model: str = Field("gpt-4o-mini-tts", min_length=1, description="the model of MEDIA_SPEECH=openai")
    elevenlabs_api_key: SecretStr | None = Field(None, description="key of MEDIA_SPEECH=elevenlabs")
    elevenlabs_base_url: str = Field("https://api.elevenlabs.io", pattern=_ORIGIN, description="where ElevenLabs is")
    media_speech: Engine = Field(
        "hibari", description="who speaks: hibari and kokoro offline, openai and elevenlabs not"
    )
    media_speech_fallback: Engine | None = Field(
        None, description="who speaks when MEDIA_SPEECH cannot be had; default: nobody, the job is tried again"
    )
    media_kokoro_path: str = Field(".cache/voices", description="the folder that `make voices` fills, for kokoro")
    media_free_tier: Literal["catalog", "create"] = Field(
        "catalog", description="`catalog`: free users start catalogue sessions; `create`: they create sessions"
    )
    media_free_daily_sessions: int = Field(2, ge=0, le=1000, description="what a free user may use a UTC day")
    media_job_lease_seconds: int = Field(
        20, ge=5, le=600, description="how long a render job stays with a worker that has fallen silent"
    )
    media_listening_retention_days: int = Field(
        400, ge=1, le=3650, description="how long what users did with sessions is kept, for their cards"
    )
    media_job_cool_down_seconds: int = Field(
        600, ge=1, le=86400, description="how long a failed job is answered before a new one; doubles each time"
    )
    public_url: str = Field(
        "http://127.0.0.1:8787", pattern=_ORIGIN, description="the address clients see; play grants lead there"
    )

    @field_validator("cloudfront_private_key")
    @classmethod
    def _signs(cls, pem: SecretStr | None) -> SecretStr | None:
        if pem is not None:
            signing_key(pem.get_secret_value())
        return pem

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.aws_access_key_id is None) != (self.aws_secret_access_key is None):
            raise ValueError("set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or neither")
        if (self.cloudfront_key_pair_id is None) != (self.cloudfront_private_key is None):
            raise ValueError("set both CLOUDFRONT_KEY_PAIR_ID and CLOUDFRONT_PRIVATE_KEY, or neither")
        if self.cloudfront_key_pair_id is not None and self.cloudfront_domain is None:
            raise ValueError("CLOUDFRONT_KEY_PAIR_ID signs URLs of CLOUDFRONT_DOMAIN: set it too")
        for engine in (self.media_speech, self.media_speech_fallback):
            self._can_speak(engine)
        internal_token_verifier(self, self.service)
        return self

    def _can_speak(self, engine: Engine | None) -> None:
        if engine == "openai" and self.openai_api_key is None:
            raise ValueError("MEDIA_SPEECH=openai needs OPENAI_API_KEY")
        if engine == "elevenlabs" and self.elevenlabs_api_key is None:
            raise ValueError("MEDIA_SPEECH=elevenlabs needs ELEVENLABS_API_KEY")
        if engine == "kokoro" and (missing := missing_pieces(Path(self.media_kokoro_path))):
            raise ValueError(
                f"MEDIA_SPEECH=kokoro finds no {missing[0]} in {self.media_kokoro_path}: run `make voices`, or set "
                "MEDIA_KOKORO_PATH to the folder it filled"
            )
