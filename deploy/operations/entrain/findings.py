"""What a check finds: how it stands, what was seen, and what to do about it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from entrain.deployment import Deployment

Verdict = Literal["ok", "warn", "fail", "skip"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """``advice`` says what to do; empty when nothing is to be done."""

    verdict: Verdict
    seen: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    name: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Check:
    """``run`` raises NotConfigured when a service it needs has no valid settings; any other error is a failure.

    ``writes`` marks one that leaves something behind while it runs: it is asked for by name.
    """

    name: str
    run: Callable[[Deployment], Awaitable[Outcome]]
    writes: bool = False


def ok(seen: str) -> Outcome:
    return Outcome("ok", seen)


def warn(seen: str, advice: str) -> Outcome:
    return Outcome("warn", seen, advice)


def fail(seen: str, advice: str) -> Outcome:
    return Outcome("fail", seen, advice)


def skip(why: str) -> Outcome:
    return Outcome("skip", why)


def said(error: BaseException) -> str:
    """An error in one short line."""
    text = " ".join(str(error).replace(" ssl:default", "").split())
    return f"{type(error).__name__}: {text}"[:240] if text else type(error).__name__
