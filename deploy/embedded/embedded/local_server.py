"""A small aiohttp server on loopback: what every stand-in is made of."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from aiohttp import web

LOOPBACK = "127.0.0.1"
SHUTDOWN_SECONDS = 0.5


class LocalServer(ABC):
    """Serves ``application()`` on ``127.0.0.1:port`` between ``start`` and ``stop`` or inside ``async with``.

    ``port=0`` takes a free one; ``port`` and ``url`` hold the real one once started, and a second start uses it again,
    so that addresses handed out stay valid.
    """

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self._runner: web.AppRunner | None = None

    @abstractmethod
    def application(self) -> web.Application:
        """The routes; called anew at each start, because aiohttp applications cannot be started twice."""

    @property
    def url(self) -> str:
        """``http://127.0.0.1:<port>`` without a trailing slash. Raises RuntimeError before a free port was taken."""
        if not self.port:
            raise RuntimeError(f"{type(self).__name__} has no address before it is started")
        return f"http://{LOOPBACK}:{self.port}"

    async def start(self) -> None:
        """Raises OSError when the port is taken."""
        runner = web.AppRunner(self.application(), access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, LOOPBACK, self.port).start()
        except OSError:
            await runner.cleanup()
            raise
        self.port = runner.addresses[0][1]
        self._runner = runner

    async def stop(self) -> None:
        """Ends open requests within a second; may be called more than once."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


def bearer_token(request: web.Request) -> str:
    """What follows ``Bearer`` in the Authorization header, or the empty text."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token if scheme == "Bearer" else ""
