"""Findings on paper: for people and for machines."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from entrain.findings import Finding

_MARKS = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}
HEALTHY, WARNED, FAILED = 0, 1, 2


def lines(findings: Sequence[Finding], seconds: float) -> Iterator[str]:
    looked_at = [finding for finding in findings if finding.outcome.verdict != "skip"]
    width = max((len(finding.name) for finding in looked_at), default=0)
    for finding in looked_at:
        outcome = finding.outcome
        yield f"{_MARKS[outcome.verdict]}  {finding.name:<{width}}  {outcome.seen}"
        if outcome.advice:
            yield f"{'':<6}{'':<{width}}  → {outcome.advice}"
    yield from _left_out(findings)
    counts = _counts(findings)
    told = f"{counts['ok']} ok, {counts['warn']} to look at, {counts['fail']} failed, {counts['skip']} not applicable"
    yield f"{len(findings)} checks in {seconds:.1f} s: {told}"


def _left_out(findings: Sequence[Finding]) -> Iterator[str]:
    """One line a reason, however many checks share it."""
    names: dict[str, list[str]] = {}
    for finding in findings:
        if finding.outcome.verdict == "skip":
            names.setdefault(finding.outcome.seen, []).append(finding.name)
    for why, left_out in names.items():
        yield f"-     {why}: {', '.join(left_out)}"


def document(findings: Sequence[Finding]) -> str:
    found = [{"name": finding.name, **asdict(finding.outcome)} for finding in findings]
    return json.dumps({"ok": exit_code(findings) == HEALTHY, "counts": _counts(findings), "findings": found}, indent=2)


def exit_code(findings: Sequence[Finding]) -> int:
    """0 when nothing is to be done, 1 when something is to be looked at, 2 when something failed."""
    counts = _counts(findings)
    return FAILED if counts["fail"] else WARNED if counts["warn"] else HEALTHY


def _counts(findings: Sequence[Finding]) -> dict[str, int]:
    counted = Counter(finding.outcome.verdict for finding in findings)
    return {"ok": counted["ok"], "warn": counted["warn"], "fail": counted["fail"], "skip": counted["skip"]}
