"""What taking a webhook costs without us: a bare ASGI app that checks the HMAC, inserts the body and answers 200."""

import asyncio
import hashlib
import hmac
import sys
from typing import Any

import asyncpg

from common.service import HttpServer, stop_requested

SECRET = b"whsec_a_long_signing_secret"


def application(pool: Any) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        stamp, _, signature = headers[b"x-revenuecat-webhook-signature"].partition(b",v1=")
        digest = hmac.new(SECRET, stamp.removeprefix(b"t=") + b"." + body, hashlib.sha256).hexdigest()
        status = 200 if hmac.compare_digest(digest.encode(), signature) else 401
        if status == 200:
            async with pool.acquire() as session, session.transaction():
                await session.execute("INSERT INTO bare_webhook (body) VALUES ($1)", body)
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    return app


async def main(port: int, url: str) -> None:
    asked = stop_requested()
    pool = await asyncpg.create_pool(url, min_size=10, max_size=10)
    await pool.execute("CREATE TABLE IF NOT EXISTS bare_webhook (id bigserial PRIMARY KEY, body bytea)")
    async with HttpServer(application(pool), "127.0.0.1", port):
        await asked.wait()
    await pool.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
