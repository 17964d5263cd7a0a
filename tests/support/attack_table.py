"""Every attack on tokens, keys and the way tokens are carried that the product must withstand, by row.

A test says which rows it proves with ``@pytest.mark.attack("E7")`` or, for one case among several, with ``attack(…)``.
``make attacks`` runs these tests and prints the table; a row without a test fails it.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

ROWS = {
    "A1": "no algorithm: `none` in any spelling, without a signature",
    "A2": "an algorithm that is missing, null, a list or an object",
    "A3": "an algorithm that is part of an accepted one's name",
    "A4": "HMAC with the public key's PEM as its secret",
    "A5": "HMAC and public-key families mixed under one issuer",
    "A6": "HMAC with the public key's DER or JWK as its secret",
    "A7": "HMAC with an empty secret; a gateway started without its key",
    "A8": "a symmetric key smuggled into the key set",
    "A9": "another algorithm of the right family",
    "A10": "an elliptic key of another curve",
    "A11": "an all-zero signature",
    "A12": "a key too short to be safe",
    "A13": "key material that is malformed, degenerate or no key set at all",
    "A14": "a key set of mixed kinds, the wrong kind first",
    "A15": "a key meant for something else than verifying this algorithm",
    "A16": "an encrypted token in place of a signed one",
    "A17": "a cryptographic backend whose timing tells secrets",
    "B1": "a key id that is a path, a query, huge or no text",
    "B2": "a key id that is unknown or missing under a good signature",
    "B3": "a flood of unknown key ids to have the keys fetched again and again",
    "B4": "a flood of bad signatures under a known key id, to the same end",
    "B5": "a rotation that keeps the key id",
    "B6": "a key server that is down, slow, redirects or answers nonsense",
    "B7": "a key, or its address, brought along in the header",
    "B8": "critical extensions nobody knows",
    "B9": "unencoded or compressed payloads",
    "B10": "a member that is given twice",
    "B11": "a token of another type",
    "B12": "another kind of token under the same key: template, machine, OAuth, handshake",
    "B13": "a token of another instance or issuer",
    "B14": "unknown harmless parameters that must not lock users out",
    "B15": "an unsigned header nested deep enough to exhaust the parser",
    "B16": "a signed payload nested as deep",
    "B17": "a header that is huge numbers, other encodings or no object",
    "C1": "a required claim that is missing",
    "C2": "an expiry as text",
    "C3": "an expiry that is fractional, enormous or too far off",
    "C4": "an expiry that is null, a list or an object",
    "C5": "an infinite expiry",
    "C6": "an expiry that is no number, or past",
    "C7": "the very end of a token's life",
    "C8": "true as an instant",
    "C9": "a token that is not valid yet",
    "C10": "null or a list as an instant",
    "C11": "a token issued in the future",
    "C12": "an issuer that almost matches",
    "C13": "a token minted for another web origin, or for none",
    "C14": "a missing or foreign audience where one is expected",
    "C15": "an audience where none is expected, which must not lock users out",
    "C16": "a subject that is no text",
    "C17": "a subject that is missing or empty",
    "C18": "a subject with control characters, look-alikes, or of enormous length",
    "C19": "an access-token hash, which must not lock users out",
    "C20": "a token id that is a number, which must not lock users out",
    "C21": "a session that is still pending",
    "C22": "someone who acts in the user's name",
    "C23": "a project's anonymous or service key as a user's token",
    "C24": "a payload that is no object",
    "D1": "more or fewer than three parts, or the JSON form",
    "D2": "one signature in many spellings",
    "D3": "a signature cut off, or a payload swapped under it",
    "D4": "bytes that belong in no token",
    "D5": "text that cannot be encoded",
    "D6": "tokens of enormous size",
    "D7": "a hundred thousand dots",
    "E1": "several Authorization headers",
    "E2": "the scheme in another spelling, with other blanks",
    "E3": "two tokens in one header, another scheme or none",
    "E4": "a token in the address, and in the logs by that way",
    "E5": "a token in a cookie that disagrees with the header",
    "E6": "identity headers of the client's own, in any spelling",
    "E7": "our own headers named in Connection, to have them dropped",
    "E8": "a bare line feed inside a header",
    "E9": "two lengths for one body",
    "E10": "no host, two hosts, or a host in the address",
    "E11": "thousands of headers, or enormous ones",
    "E12": "a path that can be read in two ways",
    "E13": "an answer that tells why a token was refused",
    "E14": "a webhook signature that is malformed",
    "E15": "a webhook delivered again, at once or much later",
    "E16": "a flood of body before a webhook's signature is checked",
}

_ROWS_OF_TEST = pytest.StashKey[dict[str, list[str]]]()
_OUTCOMES = pytest.StashKey[dict[str, str]]()


def attack(row: str, *values: Any, id: str | None = None) -> Any:
    """A case of a parametrised test that proves ``row``."""
    return pytest.param(*values, marks=pytest.mark.attack(row), id=id)


def _selected(config: pytest.Config) -> bool:
    return str(config.getoption("markexpr")) == "attack"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    found = config.stash.setdefault(_ROWS_OF_TEST, {})
    config.stash.setdefault(_OUTCOMES, {})
    for item in items:
        rows = [str(row) for mark in item.iter_markers("attack") for row in mark.args]
        if unknown := set(rows) - set(ROWS):
            raise pytest.UsageError(f"{item.nodeid} proves rows nobody listed: {sorted(unknown)}")
        if rows:
            found[item.nodeid] = rows


class Recorder:
    """Keeps the worst outcome of each test."""

    def __init__(self, outcomes: dict[str, str]) -> None:
        self._outcomes = outcomes

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or not report.passed:
            self._outcomes[report.nodeid] = str(report.outcome)


def pytest_configure(config: pytest.Config) -> None:
    outcomes = config.stash.setdefault(_OUTCOMES, {})
    config.pluginmanager.register(Recorder(outcomes), "attack_outcomes")


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _selected(session.config) and _unproven(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not _selected(config):
        return
    terminalreporter.section("attacks withstood")
    for line in _table(config):
        terminalreporter.write_line(line)
    if missing := _unproven(config):
        terminalreporter.write_line(f"rows without a test: {', '.join(missing)}", red=True)


def _unproven(config: pytest.Config) -> list[str]:
    proven = {row for rows in config.stash[_ROWS_OF_TEST].values() for row in rows}
    return [row for row in ROWS if row not in proven]


def _table(config: pytest.Config) -> Iterator[str]:
    """One line a row: the attack, how many tests prove it and where they are, and how they went."""
    tests: dict[str, list[str]] = defaultdict(list)
    for test, rows in config.stash[_ROWS_OF_TEST].items():
        for row in rows:
            tests[row].append(test)
    outcomes = config.stash[_OUTCOMES]
    for row, description in ROWS.items():
        files = sorted({test.partition("::")[0].rpartition("/")[2].removesuffix(".py") for test in tests[row]})
        went = {outcomes.get(test, "not run") for test in tests[row]} or {"NO TEST"}
        result = next(iter(went)) if len(went) == 1 else ", ".join(sorted(went - {"passed"}))
        yield f"{row:<4} {description:<84} {len(tests[row]):>3} {result:<8} {' '.join(files)}"
