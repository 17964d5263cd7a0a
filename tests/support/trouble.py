"""What goes wrong in a deployment, so that its logs have something to say: refusals, bad bodies, real exceptions."""

import asyncio
import json
from typing import Any

import aiohttp
import asyncpg

from tests.support.billing import event_body
from tests.support.deployment import Deployment
from tests.support.token_forge import TokenForge

WRITER, UNHEARD = "user_2writesWhatIsNotKept", "user_2buysWhatIsNotHeard"
ADDRESS = "writer.of.lines@example.org"


class Trouble:
    """``meet`` returns when everything has gone wrong. Nothing of ``words`` and ``secrets`` may be told by a log."""

    line = "I keep this sentence to myself tonight."

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._forged = TokenForge(deployment.clerk.issuer).token()
        self._query = "a-token-in-a-query"
        self._authorization = "Bearer wrong-for-this-webhook"
        self.words = [self.line, "an unfinished title", "a title that is", "a goal of mine", ADDRESS]
        self.secrets = [self._forged, self._forged.rpartition(".")[2], self._query, self._authorization]

    async def meet(self) -> None:
        async with aiohttp.ClientSession(base_url=self._deployment.url) as self._http:
            self._deployment.clerk.sign_up(WRITER, ADDRESS)
            await self._deployment.purchase(WRITER)
            await self._refused()
            await self._webhooks()
            await self._broken_rows()

    async def _refused(self) -> None:
        assert await self._status("GET", f"/sessions/s?access_token={self._query}", token=self._forged) == 401
        assert await self._status("GET", f"/nowhere?access_token={self._query}") == 404
        assert await self._status("POST", "/sessions", b'{"title": "an unfinished title", ') == 400
        assert await self._status("POST", "/sessions", _draft("a title that is " * 100)) == 400
        wish = {"sessionType": "a goal of mine " * 200, "goal": ["a goal of mine"], "count": "many"}
        assert await self._status("POST", "/affirmations/generate", json.dumps(wish).encode()) == 400

    async def _webhooks(self) -> None:
        body = event_body(type=7, app_user_id=WRITER, subscriber_attributes={"$email": {"value": ADDRESS}})
        assert (await self._deployment.store.send_body(body)).status == 400
        headers = {"Authorization": self._authorization}
        async with self._http.post("/webhooks/revenuecat", data=body, headers=headers) as answer:
            assert answer.status == 401

    async def _broken_rows(self) -> None:
        """A request and a message that break a rule of the database, which quotes the row it refuses."""
        await self._until(lambda: self._is_pro(WRITER))
        session = await asyncpg.connect(self._deployment.database_url)
        try:
            for table, column, value in (("session_line", "text", self.line), ("entitlement", "user_id", UNHEARD)):
                rule = f"CHECK ({column} <> '{value}') NOT VALID"
                await session.execute(f"ALTER TABLE media.{table} ADD CONSTRAINT not_here {rule}")
        finally:
            await session.close()
        assert await self._status("POST", "/sessions", _draft("My first session", self.line)) == 500
        await self._deployment.purchase(UNHEARD)
        log = self._deployment.log_of("media worker")
        await self._until(lambda: _holds(log.read_text(), '"event": "will_retry"'))

    async def _is_pro(self, user_id: str) -> bool:
        headers = {"Authorization": f"Bearer {self._deployment.token(user_id)}"}
        async with self._http.get("/me/entitlement", headers=headers) as answer:
            return bool((await answer.json())["plan"] == "pro")

    async def _until(self, condition: Any) -> None:
        async with asyncio.timeout(30):
            while not await condition():
                await asyncio.sleep(0.05)

    async def _status(self, method: str, path: str, body: bytes | None = None, *, token: str = "") -> int:
        headers = {"Authorization": f"Bearer {token or self._deployment.token(WRITER)}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        async with self._http.request(method, path, data=body, headers=headers) as answer:
            await answer.read()
            return answer.status


async def _holds(text: str, part: str) -> bool:
    return part in text


def _draft(title: str, *lines: str) -> bytes:
    own = list(lines) or ["I am here."]
    return json.dumps({"title": title, "goalTag": "focus", "affirmations": own, "voiceId": "nova"}).encode()
