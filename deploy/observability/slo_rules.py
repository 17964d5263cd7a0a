"""Prometheus rules made of `slos.yml`: the share of failures over several windows, and alerts for a budget that burns.

Each promise is a pair of queries: all events and the bad ones. What is alerted on is how quickly the budget of bad
events goes: so much over a long window, and still so over a short one, so that the alert ends when the fault does.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
FAST = ((14.4, "1h", "5m"), (6.0, "6h", "30m"))
SLOW = ((3.0, "1d", "2h"), (1.0, "3d", "6h"))
"""Times the even pace: at 14.4 a budget of 30 days loses 2 % in an hour, at 1 it lasts just as long as it should."""
FEWEST_BAD = 5
"""In an hour: among few requests a single failure is a large share, and no reason to wake anybody."""


@dataclass(frozen=True, slots=True)
class Slo:
    """``all`` and ``bad`` are counters; ``WINDOW`` in them stands for a range."""

    name: str
    objective: float
    all: str
    bad: str


def slos(document: Mapping[str, Any]) -> Iterator[Slo]:
    for name, endpoint in document["endpoints"].items():
        selector = f'service="gateway",{endpoint["selector"]}'
        requests = f"http_requests_total{{{selector}}}[WINDOW]"
        errors = f'http_requests_total{{{selector},status=~"5.."}}[WINDOW]'
        # the first failure makes its series: until then there is none, and that is no failure
        yield Slo(
            f"{name}-availability",
            endpoint["availability"],
            f"sum(rate({requests}))",
            f"(sum(rate({errors})) or 0 * sum(rate({requests})))",
        )
        latency = endpoint["latency"]
        yield _within(
            f"{name}-latency",
            "http_request_duration_seconds",
            selector,
            latency["objective"],
            latency["seconds"],
        )
    for name, journey in document["journeys"].items():
        yield _within(name, journey["histogram"], journey["selector"], journey["objective"], journey["seconds"])


def _within(name: str, histogram: str, selector: str, objective: float, seconds: float) -> Slo:
    bucket = ",".join(filter(None, (selector, f'le="{float(seconds)}"')))
    everything = f"sum(rate({histogram}_count{{{selector}}}[WINDOW]))"
    return Slo(name, objective, everything, f"({everything} - sum(rate({histogram}_bucket{{{bucket}}}[WINDOW])))")


def rules(document: Mapping[str, Any]) -> dict[str, Any]:
    """The rule file."""
    known = list(slos(document))
    groups = [{"name": f"slo {slo.name}", "rules": list(_recordings(slo, document["period"]))} for slo in known]
    return {"groups": [*groups, {"name": "slo alerts", "rules": [_alert("Fast", "page"), _alert("Slowly", "ticket")]}]}


def _recordings(slo: Slo, period: str) -> Iterator[dict[str, Any]]:
    def record(name: str, expression: str) -> dict[str, Any]:
        return {"record": name, "expr": expression, "labels": {"slo": slo.name}}

    yield record("slo:objective:ratio", f"vector({slo.objective})")
    yield record("slo:events:rate1h", slo.all.replace("WINDOW", "1h"))
    yield record("slo:events:rate5m", slo.all.replace("WINDOW", "5m"))
    yield record("slo:errors:rate5m", slo.bad.replace("WINDOW", "5m"))
    for window in WINDOWS:
        # without an event there is no share: a NaN would spoil every average it is part of
        yield record(f"slo:errors:ratio_rate{window}", f"{slo.bad} / ({slo.all} > 0)".replace("WINDOW", window))
    # of events, not of minutes: the only request of a night that fails is one of a month's
    errors, events = (
        f'sum_over_time(slo:{what}:rate5m{{slo="{slo.name}"}}[{period}])' for what in ("errors", "events")
    )
    yield record("slo:budget_left:ratio", f"1 - {errors} / ({events} > 0) / (1 - {slo.objective})")


def _alert(pace: str, severity: str) -> dict[str, Any]:
    burns = [_burns(*each) for each in (FAST if pace == "Fast" else SLOW)]
    enough = f" and on (slo) slo:errors:ratio_rate1h * on (slo) slo:events:rate1h * 3600 >= {FEWEST_BAD}"
    name = f"ErrorBudgetBurns{pace}"
    return {
        "alert": name,
        "expr": f"({' or '.join(burns)}){enough if pace == 'Fast' else ''}",
        "for": "2m" if pace == "Fast" else "15m",
        "labels": {"severity": severity},
        "annotations": {
            "summary": "{{ $labels.slo }} fails too often",
            "description": "{{ $value | humanizePercentage }} of what {{ $labels.slo }} counts failed. At this "
            "pace the budget of 30 days is gone long before they are over.",
            "runbook_url": f"docs/runbooks.md#{name.lower()}",
        },
    }


def _burns(pace: float, long: str, short: str) -> str:
    above = f"> on (slo) {pace} * (1 - slo:objective:ratio)"
    return f"(slo:errors:ratio_rate{long} {above} and on (slo) slo:errors:ratio_rate{short} {above})"
