"""The control API of the running product: the part of the command line that plays people and providers.

Loopback only, every request with the secret of this run. POST with JSON; answers JSON, errors ``{code, message}``.
"""

import asyncio
import base64
import binascii
import hmac
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any

from aiohttp import web

from embedded.clerk import ClerkStandIn
from embedded.control_request import Body, Unfit, text_of
from embedded.faults import FaultList
from embedded.local_server import LocalServer, bearer_token
from embedded.revenuecat import RevenueCatStandIn
from embedded.session_tokens import WrongUserId
from embedded.store_acts import store_acts
from embedded.store_ledger import StoreRefusal
from embedded.webhook_sender import Attempt, WebhookSender

FIRST_ATTEMPT_SECONDS = 15.0
LARGEST_BODY = 8 * 1024 * 1024

Answer = Callable[[Body], Awaitable[dict[str, Any]]]


class ControlServer(LocalServer):
    """Serves ``control_app`` on a free port; ``secret`` and ``port`` go into the run's record."""

    def __init__(
        self,
        clerk: ClerkStandIn,
        store: RevenueCatStandIn,
        secret: str,
        faults: Mapping[str, FaultList] | None = None,
        bus_url: str = "",
    ) -> None:
        super().__init__()
        self.secret = secret
        self._clerk, self._store, self._faults, self._bus_url = clerk, store, faults, bus_url

    def application(self) -> web.Application:
        return control_app(self._clerk, self._store, self.secret, self._faults, self._bus_url)


def control_app(
    clerk: ClerkStandIn,
    store: RevenueCatStandIn,
    secret: str,
    faults: Mapping[str, FaultList] | None = None,
    bus_url: str = "",
) -> web.Application:
    """Routes ``/token``, ``/clerk/<action>``, ``/store/<action>``, ``/webhook``, ``/fault``, ``/bus``. ``faults`` adds
    parts to clerk and store; ``bus_url`` is where the messages of this run are.
    """

    async def bus(_: Body) -> dict[str, Any]:
        return {"url": bus_url}

    people, shop = People(clerk), Shop(store)
    weather = Weather({"clerk": clerk.faults, "store": store.faults, **(faults or {})}, store)
    app = web.Application(client_max_size=LARGEST_BODY)
    routes: dict[str, Answer] = {
        "/token": people.token,
        "/webhook": shop.webhook,
        "/fault": weather.fault,
        "/bus": bus,
    }
    routes |= {f"/clerk/{action}": people.action(action) for action in people.actions}
    routes |= {f"/store/{action}": shop.action(action) for action in shop.actions}
    routes["/store/retry"] = shop.retry
    for path, answer in routes.items():
        app.router.add_post(path, _door(answer, secret))
    app.on_cleanup.extend([people.sending.close, shop.sending.close])
    return app


class Sending:
    """Hands out a sender's webhooks and tells how they fared."""

    def __init__(self, sender: WebhookSender) -> None:
        self._sender = sender
        self._begun: set[asyncio.Task[list[Attempt]]] = set()

    async def outcomes(self, messages: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
        """Of messages by id and type. Waits for the first attempts, though not as long as a receiver may take: sending
        goes on by itself.
        """
        sending = asyncio.create_task(self._sender.deliver_due())
        self._begun.add(sending)
        sending.add_done_callback(self._begun.discard)
        await asyncio.wait({sending}, timeout=FIRST_ATTEMPT_SECONDS)
        tried = {attempt.message_id: attempt for attempt in self._sender.history}
        return [_outcome(message_id, kind, tried.get(message_id)) for message_id, kind in messages]

    async def close(self, _: web.Application) -> None:
        """Gives up waiting for receivers that have not answered; their messages stay with the sender."""
        for sending in self._begun:
            sending.cancel()
        await asyncio.gather(*self._begun, return_exceptions=True)


def _outcome(message_id: str, kind: str, attempt: Attempt | None) -> dict[str, Any]:
    if attempt is not None:
        return attempt.as_json()
    known = {"id": message_id, "type": kind, "status": None, "accepted": False, "nextAttemptAt": None}
    return {**known, "problem": "not delivered yet"}


class People:
    """Signs people up, in and out, and tells how the webhooks of it fared."""

    def __init__(self, clerk: ClerkStandIn) -> None:
        self._clerk = clerk
        self.sending = Sending(clerk.webhooks)
        self.actions: dict[str, Callable[[Body], object]] = {
            "sign-up": self._sign_up,
            "change-email": lambda body: clerk.change_email(text_of(body, "userId"), text_of(body, "email")),
            "delete": lambda body: clerk.delete_user(text_of(body, "userId")),
            "sign-out": lambda body: clerk.sign_out(text_of(body, "userId")),
        }

    def _sign_up(self, body: Body) -> None:
        if text_of(body, "userId") in self._clerk.users.deleted:
            raise Unfit("this user was deleted, and no id is given twice: sign up under another")
        self._clerk.sign_up(text_of(body, "userId"), body.get("email"))

    def action(self, name: str) -> Answer:
        """``{userId, email?}`` → ``{deliveries: [...]}``, one for each webhook."""

        async def act(body: Body) -> dict[str, Any]:
            before = {delivery.message_id for delivery in self._clerk.webhooks.waiting}
            try:
                self.actions[name](body)
            except KeyError:
                raise Unfit(f"{text_of(body, 'userId')} has not signed up, or is deleted") from None
            made = [each for each in self._clerk.webhooks.waiting if each.message_id not in before]
            return {"deliveries": await self.sending.outcomes((each.message_id, each.kind) for each in made)}

        return act

    async def token(self, body: Body) -> dict[str, Any]:
        """``{userId, seconds?, issuer?}`` → ``{token}``. A Clerk user who is new signs up first; one who was deleted
        gets the token of a session that has outlived the account.
        """
        user_id, issuer = text_of(body, "userId"), body.get("issuer") or "clerk"
        if issuer == "supabase":
            return {"token": self._clerk.supabase_token(user_id, _seconds(body, 3600))}
        if issuer != "clerk":
            raise Unfit(f"no issuer called {issuer!r}: clerk or supabase")
        if user_id not in self._clerk.users.deleted:
            self._clerk.sign_up(user_id)
        return {"token": self._clerk.session_token(user_id, _seconds(body, 60))}


class Shop:
    """Buys, cancels and so on, and tells how the webhooks of it fared."""

    def __init__(self, store: RevenueCatStandIn) -> None:
        self._store = store
        self.sending = Sending(store.webhooks)
        self.actions = store_acts(store)

    def action(self, name: str) -> Answer:
        """What the act takes → ``{deliveries: [...]}``, one for each webhook."""

        async def act(body: Body) -> dict[str, Any]:
            events = self.actions[name](body)
            return {"deliveries": await self.sending.outcomes((event["id"], event["type"]) for event in events)}

        return act

    async def retry(self, _: Body) -> dict[str, Any]:
        """Everything that waits for another attempt is tried now → ``{deliveries: [...]}``."""
        self._store.webhooks.retry_now()
        return {"deliveries": [attempt.as_json() for attempt in await self._store.deliver_due()]}

    async def webhook(self, body: Body) -> dict[str, Any]:
        """``{body: base64}`` is sent as it is, signed, once → how it fared."""
        try:
            content = base64.b64decode(text_of(body, "body"), validate=True)
        except binascii.Error:
            raise Unfit("body is not base64") from None
        return (await self._store.send_body(content)).as_json()


class Weather:
    """Sets and clears faults."""

    def __init__(self, parts: Mapping[str, FaultList], store: RevenueCatStandIn) -> None:
        self._parts, self._store = parts, store

    async def fault(self, body: Body) -> dict[str, Any]:
        """``{part, kind, times?, where?}``; kind ``clear`` ends them all. Part ``webhooks`` takes lose, twice, delay
        (by five minutes) and reverse; part ``store`` takes ``stale`` too.
        """
        part, kind, times = text_of(body, "part"), text_of(body, "kind"), int(body.get("times") or 1)
        if part == "webhooks":
            self._deliver_badly(kind, times)
        elif part == "store" and kind == "stale":
            self._store.stale_reads(times)
        elif part not in self._parts:
            raise Unfit(f"no part called {part!r}: {', '.join(sorted([*self._parts, 'webhooks']))}")
        elif kind == "clear":
            self._parts[part].clear()
        else:
            self._parts[part].fail_next(kind, times, where=str(body.get("where") or ""))
        return {}

    def _deliver_badly(self, kind: str, times: int) -> None:
        ways: dict[str, Callable[[], None]] = {
            "lose": lambda: self._store.webhooks.lose(times),
            "twice": lambda: self._store.webhooks.twice(times),
            "delay": lambda: self._store.webhooks.delay(timedelta(minutes=5), times),
            "reverse": self._store.webhooks.reverse,
        }
        if kind not in ways:
            raise Unfit(f"webhooks take {', '.join(ways)}")
        ways[kind]()


def _door(answer: Answer, secret: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def door(request: web.Request) -> web.Response:
        if not hmac.compare_digest(bearer_token(request).encode(), secret.encode()):
            return _error(401, "UNAUTHORIZED", "this is not the secret of the running product")
        try:
            body = await request.json()
            if not isinstance(body, dict):
                raise Unfit("send a JSON object")
            return web.json_response(await answer(body))
        except json.JSONDecodeError:
            return _error(400, "VALIDATION_ERROR", "send a JSON object")
        except (StoreRefusal, WrongUserId, Unfit) as error:
            return _error(409 if isinstance(error, StoreRefusal) else 400, "REFUSED", str(error))
        except (ValueError, TypeError, OverflowError) as error:
            return _error(400, "VALIDATION_ERROR", f"this cannot be done: {error}")

    return door


def _seconds(body: Body, usual: int) -> int:
    """May be negative: a token that has run out already."""
    return usual if body.get("seconds") is None else int(body["seconds"])


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"code": code, "message": message}, status=status)
