"""A stand-in for RevenueCat: REST API v1 for one project, a store to buy in, signed webhooks with RevenueCat's retries.

Each change of a purchase sends the webhooks that RevenueCat would send for it and shows at once in
``GET /v1/subscribers/{id}`` (unless ``stale_reads`` says otherwise). All time comes from ``clock``.
"""

import copy
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

from aiohttp import web

from common.clock import Clock, from_milliseconds, utc_now
from embedded.faults import FaultList
from embedded.kept_files import read_json, write_json
from embedded.local_server import LocalServer, bearer_token
from embedded.store_documents import milliseconds, webhook_body
from embedded.store_ledger import Event
from embedded.store_lifecycle import LivingLedger
from embedded.webhook_sender import REVENUECAT_RULES, Attempt, WebhookSender
from embedded.webhook_signatures import revenuecat_headers

LONGEST_ID = 100
INVALID_KEY, INVALID_ID, NOT_FOUND = 7225, 7256, 7259
Arguments = ParamSpec("Arguments")


def _announced(
    change: Callable[Concatenate[LivingLedger, Arguments], list[Event]],
) -> Callable[Concatenate["RevenueCatStandIn", Arguments], list[Event]]:
    """A change of the ledger as a method of the stand-in, which keeps it and sends its webhooks."""

    def announced(self: "RevenueCatStandIn", /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> list[Event]:
        events = change(self.ledger, *args, **kwargs)
        self.keep()
        for event in events:
            self.webhooks.enqueue(event["id"], event["type"], webhook_body(event))
        return events

    announced.__doc__ = change.__doc__
    return announced


class RevenueCatStandIn(LocalServer):
    """``url`` is where RevenueCat's host is (paths begin with ``/v1``), ``api_key`` what ``REVENUECAT_API_KEY`` holds.

    ``webhook_authorization`` and ``webhook_secret`` sign as the settings of the same names expect; without
    ``webhook_url`` nothing is sent. ``data_dir`` keeps customers and waiting webhooks over a restart. With
    ``background`` webhooks go out by themselves, otherwise with ``deliver_due``.
    Faults: ``faults.fail_next`` (REST), ``stale_reads``, and ``webhooks.lose``, ``twice``, ``delay``, ``reverse``.
    """

    def __init__(
        self,
        clock: Clock = utc_now,
        data_dir: Path | None = None,
        *,
        port: int = 0,
        api_key: str = "sk_stand_in",
        webhook_url: str | None = None,
        webhook_authorization: str = "",
        webhook_secret: str = "",
        background: bool = False,
    ) -> None:
        super().__init__(port)
        if webhook_url and not (webhook_authorization or webhook_secret):
            raise ValueError("webhooks need webhook_authorization or webhook_secret, or both")
        self.api_key = api_key
        self.further_keys: set[str] = set()
        """Accepted too, as a project's other keys are."""
        self.faults = FaultList()
        self.ledger = LivingLedger(clock)
        self.webhooks = WebhookSender(
            clock,
            lambda _, body, at: revenuecat_headers(body, at, webhook_authorization, webhook_secret),
            REVENUECAT_RULES,
            webhook_url,
            kept=self.keep,
        )
        self.clock, self._background = clock, background
        self._file = data_dir / "revenuecat.json" if data_dir else None
        self._last_request_ms = 0
        self._stale = 0
        self._load()

    purchase = _announced(LivingLedger.purchase)
    renew = _announced(LivingLedger.renew)
    cancel = _announced(LivingLedger.cancel)
    uncancel = _announced(LivingLedger.uncancel)
    refund = _announced(LivingLedger.refund)
    expire = _announced(LivingLedger.expire)
    billing_issue = _announced(LivingLedger.billing_issue)
    transfer = _announced(LivingLedger.transfer)
    grant = _announced(LivingLedger.grant)
    log_in = _announced(LivingLedger.log_in)
    decline = _announced(LivingLedger.decline)
    change_product = _announced(LivingLedger.change_product)
    pause = _announced(LivingLedger.pause)
    extend = _announced(LivingLedger.extend)
    reverse_refund = _announced(LivingLedger.reverse_refund)
    grant_unconfirmed = _announced(LivingLedger.grant_unconfirmed)
    confirm = _announced(LivingLedger.confirm)
    revoke_grants = _announced(LivingLedger.revoke_grants)
    pass_time = _announced(LivingLedger.pass_time)

    def stale_reads(self, times: int = 1) -> None:
        """The next ``times`` reads show the customer as before the last change, with a fresh ``request_date``."""
        self._stale += times

    async def start(self) -> None:
        await super().start()
        await self.webhooks.start(background=self._background)

    async def stop(self) -> None:
        await self.webhooks.stop()
        self.faults.release()
        await super().stop()

    async def deliver_due(self, now: datetime | None = None) -> list[Attempt]:
        """Sends the webhooks due at ``now`` (the clock's present when None), each once; the outcome of each."""
        return await self.webhooks.deliver_due(now)

    async def send_body(self, body: bytes) -> Attempt:
        """One signed attempt with this body as it is."""
        return await self.webhooks.send_once("as given", "webhook", body)

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self.faults.middleware])
        app.router.add_get("/v1/subscribers/{id}", self._get_subscriber)
        app.router.add_delete("/v1/subscribers/{id}", self._delete_subscriber)
        return app

    def keep(self) -> None:
        if self._file:
            write_json(self._file, {"ledger": self.ledger.dump(), "waiting": self.webhooks.dump()})

    def _load(self) -> None:
        saved = read_json(self._file) if self._file else None
        if saved:
            self.ledger.load(saved["ledger"])
            self.webhooks.load(saved["waiting"])

    async def _get_subscriber(self, request: web.Request) -> web.Response:
        app_user_id = request.match_info["id"]
        if refusal := self._refusal(request, app_user_id):
            return refusal
        status, document = self.answer(app_user_id)
        return web.json_response(document, status=status)

    def answer(self, app_user_id: str) -> tuple[int, dict[str, Any]]:
        """Status and body of ``GET /v1/subscribers/{id}``."""
        customer, created = self.ledger.customer(app_user_id)
        if created:
            self.keep()
        subscriber = self.ledger.subscriber(app_user_id)
        if self._stale > 0 and customer.before is not None:
            self._stale -= 1
            subscriber = copy.deepcopy(customer.before)
        if not self.api_key.startswith("sk_"):
            del subscriber["subscriber_attributes"]
        return 201 if created else 200, self._dated(subscriber)

    def _dated(self, subscriber: dict[str, Any]) -> dict[str, Any]:
        """No two answers carry the same ``request_date_ms``, and none an older one than the answer before."""
        self._last_request_ms = max(milliseconds(self.clock()), self._last_request_ms + 1)
        date = from_milliseconds(self._last_request_ms)
        return {
            "request_date": date.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "request_date_ms": self._last_request_ms,
            "subscriber": subscriber,
        }

    async def _delete_subscriber(self, request: web.Request) -> web.Response:
        app_user_id = request.match_info["id"]
        if refusal := self._refusal(request, app_user_id):
            return refusal
        if not self.ledger.forget(app_user_id):
            return _error(404, NOT_FOUND, "Subscriber not found.")
        self.keep()
        return web.json_response({"app_user_id": app_user_id, "deleted": True})

    def _refusal(self, request: web.Request, app_user_id: str) -> web.Response | None:
        if bearer_token(request) not in {self.api_key, *self.further_keys}:
            return _error(401, INVALID_KEY, "Invalid API Key.")
        if len(app_user_id) > LONGEST_ID:
            return _error(400, INVALID_ID, "The app user id is not valid.")
        return None


def _error(status: int, code: int, message: str) -> web.Response:
    return web.json_response({"code": code, "message": message}, status=status)
