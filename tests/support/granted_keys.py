"""Keys to what lies outside, several at a time as their owners give them: S3's, the providers' and the counters'."""

import json
import secrets
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Self
from urllib.parse import urlsplit

import pytest
from aiobotocore.session import get_session
from botocore.exceptions import ClientError

from embedded.language_model import LanguageModelStandIn
from embedded.object_store import PrivateObjectStore
from embedded.speech import SpeechStandIn
from tests.support.valkey import PrivateValkey


class GrantedKeys:
    """``async with GrantedKeys(object_store, bucket, valkey) as keys``.

    ``addresses`` are the settings of where everything is, ``grant`` gives those of one more key to each of it, and
    ``revoke`` ends such a set. The S3 server has a user, who may do everything in the bucket.
    """

    def __init__(self, store: PrivateObjectStore, bucket: str, valkey: PrivateValkey) -> None:
        self.model = LanguageModelStandIn()
        self.speech = SpeechStandIn()
        self._store = store
        self._bucket = bucket
        self._valkey = valkey
        self._user = f"media-{secrets.token_hex(4)}"
        self._open = AsyncExitStack()

    @property
    def addresses(self) -> dict[str, str]:
        return {
            "OPENAI_BASE_URL": self.model.base_url,
            "ELEVENLABS_BASE_URL": self.speech.url,
            "MEDIA_SPEECH": "elevenlabs",
        }

    async def __aenter__(self) -> Self:
        for part in (self.model, self.speech):
            await self._open.enter_async_context(part)
        client = get_session().create_client(
            "iam",
            endpoint_url=self._store.endpoint,
            region_name=self._store.region,
            aws_access_key_id=self._store.access_key,
            aws_secret_access_key=self._store.secret_key,
        )
        self._iam = await self._open.enter_async_context(client)
        resources = [f"arn:aws:s3:::{self._bucket}", f"arn:aws:s3:::{self._bucket}/*"]
        everything = {"Effect": "Allow", "Action": ["s3:*"], "Resource": resources}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [everything]})
        await self._iam.create_user(UserName=self._user)
        await self._iam.put_user_policy(UserName=self._user, PolicyName="bucket", PolicyDocument=policy)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def grant(self) -> dict[str, str]:
        name = secrets.token_hex(8)
        pair = (await self._iam.create_access_key(UserName=self._user))["AccessKey"]
        self.model.further_keys.add(f"sk-{name}")
        self.speech.further_keys.add(f"xi-{name}")
        return {
            "OPENAI_API_KEY": f"sk-{name}",
            "ELEVENLABS_API_KEY": f"xi-{name}",
            "AWS_ACCESS_KEY_ID": pair["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": pair["SecretAccessKey"],
            "RATE_LIMIT_STORAGE_URL": await self._valkey.add_user(f"gateway-{name}"),
        }

    async def revoke(self, granted: Mapping[str, str]) -> None:
        """Returns when the S3 server refuses the pair."""
        self.model.further_keys.remove(granted["OPENAI_API_KEY"])
        self.speech.further_keys.remove(granted["ELEVENLABS_API_KEY"])
        await self._valkey.remove_user(str(urlsplit(granted["RATE_LIMIT_STORAGE_URL"]).username))
        pair = granted["AWS_ACCESS_KEY_ID"], granted["AWS_SECRET_ACCESS_KEY"]
        await self._iam.delete_access_key(UserName=self._user, AccessKeyId=pair[0])
        async with self._store.client(pair) as s3:
            with pytest.raises(ClientError, match="InvalidAccessKeyId"):
                await s3.list_objects_v2(Bucket=self._bucket)
