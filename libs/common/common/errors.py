"""Errors that say what happened.

A ``DomainError`` carries the answer the caller gets; a ``PermanentError`` says that no retry helps.
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class DomainError(Exception):
    """Answered as ``{code, message, details?}`` with ``status``. Subclasses name the fact.

    The first paragraph of a subclass's docstring is what the published API says about it.
    """

    status = 400
    code = "VALIDATION_ERROR"
    sample_details: ClassVar[Any] = None
    """``details`` as they may look, for the published API; None: there are none."""
    sent_headers: ClassVar[tuple[str, ...]] = ()
    """Headers of such an answer."""

    def __init__(self, message: str, *, details: Any = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        self.headers = dict(headers or {})

    def envelope(self) -> dict[str, Any]:
        body: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.details is not None:
            body["details"] = self.details
        return body


class InvalidInput(DomainError):
    """The request is not valid; `details` says what is wrong, and where."""

    sample_details: ClassVar[Any] = {"formErrors": [], "fieldErrors": {"title": ["Field required"]}}


class Unauthorized(DomainError):
    """No valid session token was sent."""

    status, code = 401, "UNAUTHORIZED"
    sent_headers = ("WWW-Authenticate",)

    def __init__(self, message: str = "Sign in and send a valid session token.") -> None:
        super().__init__(message, headers={"WWW-Authenticate": "Bearer"})


class Forbidden(DomainError):
    """This is not for this user to do."""

    status, code = 403, "FORBIDDEN"


class NotFound(DomainError):
    """There is nothing here that this user may see."""

    status, code = 404, "NOT_FOUND"


class MethodNotAllowed(DomainError):
    """This address does not take that method; `Allow` lists those it takes."""

    status, code = 405, "METHOD_NOT_ALLOWED"


class Conflict(DomainError):
    """This contradicts what was done before."""

    status, code = 409, "CONFLICT"


class PayloadTooLarge(DomainError):
    """The body is larger than this address takes, which is 1 MiB at most."""

    status, code = 413, "PAYLOAD_TOO_LARGE"


class RateLimited(DomainError):
    """Too many requests; `Retry-After` and `details.resetAt` (milliseconds since 1970) say when there is room again."""

    status, code = 429, "RATE_LIMITED"
    sample_details: ClassVar[Any] = {"resetAt": 1767225600000}
    sent_headers = ("Retry-After", "RateLimit", "RateLimit-Policy")


class Unavailable(DomainError):
    """Something we depend on is busy or restarting; `Retry-After` says when the same request may succeed."""

    status, code = 503, "UNAVAILABLE"
    sent_headers = ("Retry-After",)

    def __init__(self, message: str, *, retry_after: int = 5) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after)})


class PermanentError(Exception):
    """Trying the same message or job again cannot help: park it at once."""
