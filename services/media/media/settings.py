"""What media reads from the environment."""

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from common.internal_tokens import internal_token_verifier
from common.settings import DatabaseSettings, read_as
from media.elevenlabs_voices import voices_named
from media.kokoro_pieces import missing_pieces
from media.signing_keys import signing_key

_ORIGIN = r"^https?://[^/\s]+/?$"
_API = r"^https?://[^/\s]+(/[^\s?#]*)?$"


Engine = Literal["hibari", "kokoro", "openai", "elevenlabs"]


class MediaSettings(DatabaseSettings):
    model_config = read_as("media")
    service: ClassVar[str] = "media"

    aws_access_key_id: SecretStr | None = Field(
        None,
        description="S3 key with read, write and list on the bucket, its id. Without it and its secret the machine's "
        "own role is used",
        examples=["AKIA…"],
    )
    aws_secret_access_key: SecretStr | None = Field(
        None,
        description="The secret of AWS_ACCESS_KEY_ID. Without both the machine's own role is used; one alone is "
        "refused",
        examples=["…"],
    )
    aws_region: str = Field("us-east-1", description="The bucket's region")
    aws_s3_bucket_name: str = Field(min_length=3, description="Private bucket of all audio")
    aws_endpoint_url_s3: str | None = Field(
        None,
        pattern=_ORIGIN,
        description="Address of an S3-compatible server. Without it the bucket is at AWS",
        examples=["http://127.0.0.1:8333"],
    )
    aws_s3_encrypt: bool = Field(
        False,
        description="Whether to ask for SSE-S3 (AES256) with every object; by default the bucket's own rule holds, at "
        "AWS always AES256",
    )
    aws_s3_kms_key_id: str | None = Field(
        None,
        min_length=1,
        description="KMS key under which every object is encrypted instead (SSE-KMS); the CDN's and the service's "
        "roles must be allowed to use it. Without it AWS_S3_ENCRYPT decides",
        examples=["arn:aws:kms:us-east-1:111122223333:key/…"],
    )
    cloudfront_domain: str | None = Field(
        None,
        pattern=r"^(https?://)?[^/\s]+/?$",
        description="Host of every audio URL: the CloudFront distribution in front of the bucket. Without it S3 URLs "
        "are presigned",
        examples=["audio.example.com"],
    )
    cloudfront_key_pair_id: str | None = Field(
        None,
        description="CloudFront, Key management: id of the public key in the distribution's trusted key group. "
        "Without it URLs of CLOUDFRONT_DOMAIN are not signed, and a distribution that trusts a key group refuses them",
        examples=["K2…"],
    )
    cloudfront_private_key: SecretStr | None = Field(
        None,
        description="The private half of that key: PEM, RSA 2048 or EC P-256. Without both of them nothing is signed; "
        "one alone is refused",
        examples=[r'"-----BEGIN PRIVATE KEY-----\n…\n-----END PRIVATE KEY-----\n"'],
    )
    media_url_ttl_seconds: int = Field(86400, ge=60, le=604800, description="How long an audio URL stays good, seconds")
    openai_api_key: SecretStr | None = Field(
        None,
        description="Key of a language model that writes affirmations and judges texts. Without one both are done "
        "offline",
        examples=[""],
    )
    openai_base_url: str = Field(
        "https://api.openai.com/v1", pattern=_API, description="Where an OpenAI-compatible API is, with its /v1"
    )
    openai_model: str = Field("gpt-4.1-mini", min_length=1, description="The chat model that writes affirmations")
    openai_moderation: bool = Field(
        True, description="Whether the provider also judges what is written; the word rules always do"
    )
    openai_speech_model: str = Field(
        "gpt-4o-mini-tts",
        min_length=1,
        description="The model of MEDIA_SPEECH=openai; its key and address are those of the language model",
    )
    elevenlabs_api_key: SecretStr | None = Field(
        None, description="Key of MEDIA_SPEECH=elevenlabs. Without it that engine is refused at start", examples=[""]
    )
    elevenlabs_base_url: str = Field("https://api.elevenlabs.io", pattern=_ORIGIN, description="Where ElevenLabs is")
    elevenlabs_voices: str | None = Field(
        None,
        description="ElevenLabs' voice ids for the app's voices, `nova=ID,onyx=ID`; without one its default voice, "
        "which accounts made since March 2026 do not have and which ElevenLabs removes at the end of 2026",
        examples=["nova=…,shimmer=…,alloy=…,onyx=…,echo=…,fable=…"],
    )
    media_speech: Engine = Field(
        "hibari",
        description="Who speaks: hibari and kokoro offline (kokoro needs `make voices`), openai and elevenlabs with "
        "their keys",
    )
    media_speech_fallback: Engine | None = Field(
        None,
        description="Who speaks when MEDIA_SPEECH cannot be had. Without it nobody does, and the job is tried again",
        examples=["hibari"],
    )
    media_kokoro_path: str = Field(".cache/voices", description="The folder that `make voices` fills, for kokoro")
    media_free_tier: Literal["catalog", "create"] = Field(
        "catalog",
        description="What free users may do: `catalog`, start catalogue sessions; `create`, create sessions of their "
        "own",
    )
    media_free_daily_sessions: int = Field(
        2, ge=0, le=1000, description="How many of those a free user has per UTC day"
    )
    media_job_lease_seconds: int = Field(
        20, ge=5, le=600, description="How long a render job stays with a worker that has fallen silent, seconds"
    )
    media_listening_retention_days: int = Field(
        400, ge=1, le=3650, description="How long what users did with sessions is kept, for their cards, in days"
    )
    media_job_cool_down_seconds: int = Field(
        600,
        ge=1,
        le=86400,
        description="How long asking again for audio that could not be made is answered with the failed job, seconds; "
        "doubles with every job that fails over the same lines, up to a day",
    )
    public_url: str = Field(
        "http://127.0.0.1:8787",
        pattern=_ORIGIN,
        description="Media writes it into play grants: every deployment but one on the developer's own machine sets it",
    )

    @field_validator("cloudfront_private_key")
    @classmethod
    def _signs(cls, pem: SecretStr | None) -> SecretStr | None:
        if pem is not None:
            signing_key(pem.get_secret_value())
        return pem

    @field_validator("elevenlabs_voices")
    @classmethod
    def _names_voices(cls, named: str | None) -> str | None:
        voices_named(named or "")
        return named

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
