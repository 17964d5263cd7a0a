"""The first journey: a person signs in, buys, writes, and hears. Played by a client that knows only public addresses.

The tests play it too, against this run and against the services as separate processes.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit
from uuid import uuid4

import aiohttp
import numpy as np

from media import m4a
from media.aac import decode
from media.samples import RATE

PURCHASE_SECONDS = 2.0
RENDER_SECONDS = 240.0
"""The slowest engine takes most of a minute for a session, and may have one in hand."""
_REFUSALS = ("ENTITLEMENT_REQUIRED", "FREE_LIMIT_REACHED")
Tell = Callable[[str], object]


class JourneyFailed(Exception):
    """A step did not end as it must; the message says which and how."""


class Outside(Protocol):
    """The parts of the world the traveller can act on: sign in, and go to the store."""

    def token(self, user_id: str) -> str: ...

    async def purchase(self, user_id: str) -> None: ...

    async def refund(self, user_id: str) -> None: ...


@dataclass
class Heard:
    """A session as it came from the CDN."""

    title: str
    audio: bytes
    seconds: float
    url: str


class Journey:
    """``await Journey(url, outside, tell=print).play("user_ada")``; every step is checked. Raises JourneyFailed."""

    def __init__(self, url: str, outside: Outside, *, tell: Tell) -> None:
        self._url = url
        self._outside = outside
        self._tell = tell
        self._user = ""

    async def play(self, user_id: str, keep: Path | None = None) -> Heard:
        """The whole way; ``keep`` is where the user's own session is saved."""
        self._user = user_id
        timeout = aiohttp.ClientTimeout(total=30)
        async with aiohttp.ClientSession(timeout=timeout) as self._http:
            await self._arrive()
            await self._hear_the_catalogue()
            await self._meet_the_limit_of_free()
            await self._buy()
            heard = await self._write_and_hear()
            if keep is not None:
                keep.parent.mkdir(parents=True, exist_ok=True)
                keep.write_bytes(heard.audio)
            await self._return_it()
        return heard

    async def _arrive(self) -> None:
        async with self._http.get(f"{self._url}/me") as answer:
            self._expect("a stranger is refused", answer.status, 401)
        me = await self._call("GET", "/me")
        self._expect("the token's user", me["id"], self._user)
        entitlement = await self._call("GET", "/me/entitlement")
        self._expect("the plan at first", entitlement["plan"], "free")
        self._tell(f"signed in as {self._user}, plan free")

    async def _hear_the_catalogue(self) -> None:
        async def stocked() -> bool:
            return bool((await self._call("GET", "/sessions"))["sessions"])

        await self._until("the catalogue has sessions (`python -m media seed-catalog`)", stocked, RENDER_SECONDS)
        session = (await self._call("GET", "/sessions"))["sessions"][-1]
        await self._rendered(session["id"])
        heard = await self._hear(session["id"])
        self._tell(f"heard “{heard.title}” from the catalogue: {heard.seconds:.1f} s")

    async def _meet_the_limit_of_free(self) -> None:
        """Where free users may create, this one does once; else their own lines are refused."""
        before = await self._call("GET", "/me/entitlement")
        body = self._draft(["My own words carry me through this day."])
        if not before["canCreateSession"]:
            refused = await self._call("POST", "/sessions", body, status=403)
            self._expect("own lines on the free plan", refused["code"] in _REFUSALS, True)
            self._tell(f"own affirmations are refused on the free plan: {refused['code']}")
            return
        await self._call("POST", "/sessions", body, status=201)
        left = (await self._call("GET", "/me/entitlement"))["remainingFreeGenerationsToday"]
        self._expect("creations left today", left, before["remainingFreeGenerationsToday"] - 1)
        self._tell(f"created a session on the free plan, {left} left today")

    async def _buy(self) -> None:
        bought = time.perf_counter()
        await self._outside.purchase(self._user)
        await self._plan_becomes("pro")
        took = time.perf_counter() - bought
        # told, not judged: a machine that is busy with something else says nothing about the product
        late = f", {PURCHASE_SECONDS:.0f} s are promised" if took > PURCHASE_SECONDS else ""
        self._tell(f"bought pro in the store: entitled {took * 1000:.0f} ms later{late}")

    async def _write_and_hear(self) -> Heard:
        wish = {"sessionType": "Confidence", "goal": "speak calmly in front of my team", "count": 6}
        written = await self._call("POST", "/affirmations/generate", wish)
        lines = written["affirmations"]
        self._expect("affirmations written", len(lines), 6)
        created = await self._call("POST", "/sessions", self._draft(lines), status=201)
        self._tell(f"wrote {len(lines)} affirmations, such as “{lines[0]}”")
        began = time.perf_counter()
        await self._rendered(created["id"])
        self._tell(f"rendered in {time.perf_counter() - began:.1f} s")
        heard = await self._hear(created["id"])
        await self._refused_unsigned(heard.url)
        self._tell(f"heard “{heard.title}” from the CDN: {heard.seconds:.1f} s; without a signature: 403")
        return heard

    async def _return_it(self) -> None:
        await self._outside.refund(self._user)
        await self._plan_becomes("free")
        self._tell("refunded: the plan is free again")

    def _draft(self, lines: list[str]) -> dict[str, Any]:
        return {
            "localDraftId": str(uuid4()),
            "title": "My first session",
            "goalTag": "focus",
            "affirmations": lines,
            "voiceId": "nova",
            "pace": "slow",
        }

    async def _rendered(self, session_id: str) -> None:
        state = await self._call("POST", f"/sessions/{session_id}/ensure-audio", {})
        if state["status"] == "ready":
            return

        async def finished() -> bool:
            job = (await self._call("GET", f"/jobs/{state['jobId']}"))["job"]
            if job["status"] == "failed":
                raise JourneyFailed(f"rendering failed: {job['error']}")
            return bool(job["status"] == "completed")

        await self._until("the session is rendered", finished, RENDER_SECONDS)

    async def _hear(self, session_id: str) -> Heard:
        """Downloads the session as a player does and checks that it is what the bundle says."""
        session = await self._call("GET", f"/sessions/{session_id}")
        bundle = (await self._call("GET", f"/sessions/{session_id}/playback-bundle"))["bundle"]
        tone = bundle.get("binaural") or bundle["solfeggio"]
        for bed in (bundle["background"], tone):
            await self._served(bed["urlByPlatform"]["ios"])
        async with self._http.get(bundle["affirmationsMergedUrl"]) as answer:
            self._expect("the audio's status", answer.status, 200)
            self._expect("the audio's type", answer.content_type, "audio/mp4")
            audio, url = await answer.read(), str(answer.url)
        self._expect("the way of the audio", urlsplit(url).path.endswith(".m4a"), True)
        return Heard(session["title"], audio, self._listen(audio, bundle), url)

    async def _served(self, url: str) -> None:
        """The start of a bed, as a player asks for it; the beds of a new installation are still being made."""

        async def there() -> bool:
            async with self._http.get(url, headers={"Range": "bytes=0-1023"}) as answer:
                return answer.status == 206

        await self._until(f"{urlsplit(url).path} is served", there, RENDER_SECONDS)

    def _listen(self, audio: bytes, bundle: dict[str, Any]) -> float:
        samples = decode(audio)
        promised = m4a.unwrap(audio).samples
        self._expect("decoded samples", len(samples), promised)
        segments = bundle["voiceActivity"]["segments"]
        for segment in segments:
            spoken = samples[segment["startMs"] * RATE // 1000 : segment["endMs"] * RATE // 1000]
            if not float(np.sqrt(np.mean(np.square(spoken)))) > 0.005:
                raise JourneyFailed(f"no voice between {segment['startMs']} and {segment['endMs']} ms")
        self._expect("voice in the file", bool(segments), True)
        return len(samples) / RATE

    async def _refused_unsigned(self, url: str) -> None:
        async with self._http.get(url.partition("?")[0]) as answer:
            self._expect("the audio without a signature", answer.status, 403)

    async def _plan_becomes(self, plan: str) -> None:
        async def is_plan() -> bool:
            return bool((await self._call("GET", "/me/entitlement"))["plan"] == plan)

        await self._until(f"the plan is {plan}", is_plan, 15.0)

    async def _until(self, what: str, condition: Callable[[], Awaitable[bool]], seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not await condition():  # noqa: ASYNC110 - a remote state can only be polled
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise JourneyFailed(f"waited {seconds:.0f} s in vain until {what}") from None

    async def _call(self, method: str, path: str, body: Any = None, *, status: int = 200) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._outside.token(self._user)}"}
        async with self._http.request(method, self._url + path, json=body, headers=headers) as answer:
            content: dict[str, Any] = await answer.json(content_type=None)
            if answer.status != status:
                raise JourneyFailed(f"{method} {path} answered {answer.status} {content}, {status} was due")
            return content

    def _expect(self, what: str, found: object, due: object) -> None:
        if found != due:
            raise JourneyFailed(f"{what}: {found!r}, {due!r} was due")
