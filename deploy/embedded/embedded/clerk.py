"""A stand-in for Clerk (and, as a second issuer, for Supabase Auth): keys, session tokens, users, signed webhooks.

It signs and publishes exactly what the real ones do, so the gateway verifies here as it does in production. A token can
be minted for any well-formed id; users exist once they have signed up (``sign_up``).
"""

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from common.clock import Clock, utc_now
from embedded.clerk_users import ClerkUsers, session_document, webhook_body
from embedded.faults import FaultList
from embedded.kept_files import (
    kept_p256_key,
    kept_rsa_key,
    new_p256_key,
    new_rsa_key,
    private_pem,
    public_pem,
    read_json,
    write_json,
    write_private,
)
from embedded.local_server import LocalServer, bearer_token
from embedded.session_tokens import (
    SESSION_CATEGORY,
    checked_clerk_user,
    clerk_claims,
    ksuid_like,
    overridden,
    p256_jwk,
    rsa_jwk,
    signed_es256,
    signed_rs256,
    supabase_claims,
)
from embedded.webhook_sender import SVIX_RULES, WebhookSender
from embedded.webhook_signatures import svix_headers

JWKS_PATH = "/.well-known/jwks.json"
SUPABASE_PATH = "/auth/v1"
MANY_KEYS = 20_000
SESSIONS_REMEMBERED = 100


class ClerkStandIn(LocalServer):
    """``issuer`` and ``jwks_url`` go into ``CLERK_ISSUERS`` and ``CLERK_JWKS_URL``, ``url`` into ``SUPABASE_URL``.

    ``data_dir`` keeps keys, users and waiting webhooks (without it they live as long as the object). ``secret_key``
    opens the Backend API. With ``webhook_secret`` (``whsec_…``) and ``webhook_url`` user changes are sent as Svix does;
    ``background`` sends them without being asked, else call ``webhooks.deliver_due``. Faults: ``faults.fail_next``,
    with ``many_keys`` (20,000 keys) beside the general ones; ``where="jwks"`` for the key set alone.
    """

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        port: int = 0,
        clock: Clock = utc_now,
        secret_key: str = "sk_test_stand_in",
        webhook_url: str | None = None,
        webhook_secret: str = "",
        background: bool = False,
    ) -> None:
        super().__init__(port)
        if webhook_url and not webhook_secret:
            raise ValueError("webhooks need webhook_secret")
        self.secret_key = secret_key
        self.further_keys: set[str] = set()
        """Accepted too, as an instance's other secret keys are."""
        self.faults = FaultList({"many_keys": self._many_keys})
        self._dir, self._clock, self._background = data_dir, clock, background
        self._clerk_key = kept_rsa_key(data_dir / "clerk.pem") if data_dir else new_rsa_key()
        self._supabase_key = kept_p256_key(data_dir / "supabase.pem") if data_dir else new_p256_key()
        self._previous: list[dict[str, Any]] = []
        state = (data_dir and read_json(data_dir / "clerk.json")) or {}
        self.kid: str = state.get("kid") or ksuid_like("ins")
        self.supabase_kid: str = state.get("supabase_kid") or str(uuid.uuid4())
        self.instance_id: str = state.get("instance_id") or self.kid
        self.users = ClerkUsers(clock, state)
        self._sessions: dict[str, list[str]] = {}
        self.webhooks = WebhookSender(
            clock,
            lambda message, body, at: svix_headers(message, body, at, webhook_secret),
            SVIX_RULES,
            webhook_url,
            kept=self._keep,
        )
        self.webhooks.load(state.get("waiting", []))
        self._keep()

    @property
    def issuer(self) -> str:
        return self.url

    @property
    def jwks_url(self) -> str:
        return self.url + JWKS_PATH

    @property
    def supabase_issuer(self) -> str:
        return self.url + SUPABASE_PATH

    @property
    def public_key_pem(self) -> str:
        """What the dashboard shows as the JWKS public key (``CLERK_JWT_KEY``)."""
        return public_pem(self._clerk_key)

    def session_token(
        self, user_id: str, seconds: int = 60, *, header: Mapping[str, Any] | None = None, **overrides: Any
    ) -> str:
        """A session token for ``user_…``, valid ``seconds`` from now.

        ``overrides`` change claims and ``header`` changes header members; None takes one out (``azp="…"`` adds it).
        Raises WrongUserId when ``user_id`` is none of Clerk's.
        """
        claims = clerk_claims(self.issuer, user_id, self._unix(), seconds)
        plain = {"alg": "RS256", "cat": SESSION_CATEGORY, "kid": self.kid, "typ": "JWT"}
        signed = overridden(claims, overrides)
        if isinstance(signed.get("sid"), str):
            self._sessions[user_id] = [*self._sessions.get(user_id, []), signed["sid"]][-SESSIONS_REMEMBERED:]
        return signed_rs256(overridden(plain, header or {}), signed, self._clerk_key)

    def supabase_token(
        self, user_id: str, seconds: int = 3600, *, header: Mapping[str, Any] | None = None, **overrides: Any
    ) -> str:
        """The same for a Supabase user (a UUID). Raises WrongUserId."""
        claims = supabase_claims(self.supabase_issuer, user_id, self._unix(), seconds)
        plain = {"alg": "ES256", "kid": self.supabase_kid, "typ": "JWT"}
        return signed_es256(overridden(plain, header or {}), overridden(claims, overrides), self._supabase_key)

    def rotate(self, *, same_kid: bool, keep_previous: bool = False) -> None:
        """A new Clerk signing key, under the same key id or a new one; the old one leaves the key set unless kept."""
        if keep_previous and same_kid:
            raise ValueError("two keys cannot be listed under one key id")
        self._previous = [rsa_jwk(self._clerk_key, self.kid)] if keep_previous else []
        self._clerk_key = new_rsa_key()
        if not same_kid:
            self.kid = ksuid_like("ins")
        if self._dir:
            write_private(self._dir / "clerk.pem", private_pem(self._clerk_key).encode())
        self._keep()

    def sign_up(self, user_id: str, email: str | None = None) -> dict[str, Any]:
        """Creates the user and sends ``user.created``; an existing one is returned as it is."""
        known = self.users.get(checked_clerk_user(user_id))
        return known or self._changed("user.created", self.users.create(user_id, email))

    def change_email(self, user_id: str, email: str) -> dict[str, Any]:
        """Sends ``user.updated``. Raises KeyError for an unknown user."""
        return self._changed("user.updated", self.users.change_email(user_id, email))

    def delete_user(self, user_id: str) -> dict[str, Any]:
        """Removes the user and sends ``user.deleted``. Raises KeyError for an unknown user."""
        return self._changed("user.deleted", self.users.delete(user_id))

    def sign_out(self, user_id: str) -> list[str]:
        """Ends the sessions whose tokens were handed out, and sends ``session.ended`` for each; their ids."""
        ended = list(dict.fromkeys(self._sessions.pop(checked_clerk_user(user_id), [])))
        for session_id in ended:
            self._send("session.ended", session_document(session_id, user_id, self._clock()))
        return ended

    async def start(self) -> None:
        await super().start()
        await self.webhooks.start(background=self._background)

    async def stop(self) -> None:
        await self.webhooks.stop()
        self.faults.release()
        await super().stop()

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self.faults.middleware])
        app.router.add_get(JWKS_PATH, self._jwks)
        app.router.add_get("/v1/jwks", self._backend_jwks)
        app.router.add_get(SUPABASE_PATH + JWKS_PATH, self._supabase_jwks)
        app.router.add_get("/v1/users", self._list_users)
        app.router.add_get("/v1/users/{id}", self._get_user)
        app.router.add_delete("/v1/users/{id}", self._delete_user)
        return app

    async def _jwks(self, _: web.Request) -> web.Response:
        return web.json_response({"keys": [rsa_jwk(self._clerk_key, self.kid), *self._previous]})

    async def _supabase_jwks(self, _: web.Request) -> web.Response:
        keys = [p256_jwk(self._supabase_key, self.supabase_kid)]
        return web.json_response({"keys": keys}, headers={"Cache-Control": "public, max-age=600"})

    async def _backend_jwks(self, request: web.Request) -> web.Response:
        return self._refusal(request) or await self._jwks(request)

    async def _list_users(self, request: web.Request) -> web.Response:
        """Filtered by ``email_address`` (may be given several times); pages by ``limit`` and ``offset``."""
        if refusal := self._refusal(request):
            return refusal
        users = self.users.of_addresses(request.query.getall("email_address", []))
        limit, offset = int(request.query.get("limit", "10")), int(request.query.get("offset", "0"))
        return web.json_response(users[offset : offset + limit])

    async def _get_user(self, request: web.Request) -> web.Response:
        if refusal := self._refusal(request):
            return refusal
        user = self.users.get(request.match_info["id"])
        return web.json_response(user) if user else _no_such_user(request.match_info["id"])

    async def _delete_user(self, request: web.Request) -> web.Response:
        if refusal := self._refusal(request):
            return refusal
        user_id = request.match_info["id"]
        return web.json_response(self.delete_user(user_id)) if self.users.get(user_id) else _no_such_user(user_id)

    def _refusal(self, request: web.Request) -> web.Response | None:
        if bearer_token(request) in {self.secret_key, *self.further_keys}:
            return None
        return _clerk_error(401, "clerk_key_invalid", "The provided Clerk Secret Key is invalid.")

    def _changed(self, event: str, user: dict[str, Any]) -> dict[str, Any]:
        self._keep()
        self._send(event, user)
        return user

    def _send(self, event: str, data: Mapping[str, Any]) -> None:
        body = webhook_body(event, data, self.instance_id, self._clock())
        self.webhooks.enqueue(ksuid_like("msg"), event, body)

    def _many_keys(self) -> web.StreamResponse:
        key = rsa_jwk(self._clerk_key, self.kid)
        return web.json_response({"keys": [key] + [{**key, "kid": f"ins_{n}"} for n in range(1, MANY_KEYS)]})

    def _unix(self) -> int:
        return int(self._clock().timestamp())

    def _keep(self) -> None:
        if self._dir:
            state = {
                "kid": self.kid,
                "supabase_kid": self.supabase_kid,
                "instance_id": self.instance_id,
                **self.users.dump(),
                "waiting": self.webhooks.dump(),
            }
            write_json(self._dir / "clerk.json", state)


def _no_such_user(user_id: str) -> web.Response:
    return _clerk_error(404, "resource_not_found", f"No user was found with id {user_id}.")


def _clerk_error(status: int, code: str, message: str) -> web.Response:
    error = {"message": message, "long_message": message, "code": code}
    return web.json_response({"errors": [error], "clerk_trace_id": uuid.uuid4().hex}, status=status)
