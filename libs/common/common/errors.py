"""Errors that say what happened.

A ``DomainError`` carries the answer the caller gets; a ``PermanentError`` says that no retry helps.
"""

from collections.abc import Mapping
from typing import Any


class DomainError(Exception):
    """Answered as ``{code, message, details?}`` with ``status``. Subclasses name the fact."""

    status = 400
    code = "VALIDATION_ERROR"

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
    """400: the request cannot be understood; ``details`` is ``{formErrors: [...], fieldErrors: {field: [...]}}``."""


class Unauthorized(DomainError):
    status, code = 401, "UNAUTHORIZED"

    def __init__(self, message: str = "Sign in and send a valid session token.") -> None:
        super().__init__(message, headers={"WWW-Authenticate": "Bearer"})


class Forbidden(DomainError):
    status, code = 403, "FORBIDDEN"


class NotFound(DomainError):
    status, code = 404, "NOT_FOUND"


class MethodNotAllowed(DomainError):
    status, code = 405, "METHOD_NOT_ALLOWED"


class Conflict(DomainError):
    status, code = 409, "CONFLICT"


class PayloadTooLarge(DomainError):
    status, code = 413, "PAYLOAD_TOO_LARGE"


class RateLimited(DomainError):
    status, code = 429, "RATE_LIMITED"


class Unavailable(DomainError):
    """503: something we depend on is down; the same request may succeed after ``retry_after`` seconds."""

    status, code = 503, "UNAVAILABLE"

    def __init__(self, message: str, *, retry_after: int = 5) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after)})


class PermanentError(Exception):
    """Trying the same message or job again cannot help: park it at once."""
