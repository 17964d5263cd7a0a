"""What a test measured on the way, printed at the end of the run."""

from collections.abc import Callable

import pytest

Tell = Callable[[str], None]
_FIGURE = "figure"


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Tell:
    """``figure("10,000 tokens: 3 fetches")`` puts the line under the test's name."""
    # a test's properties travel with its report, from whichever process ran it
    return lambda line: request.node.user_properties.append((_FIGURE, f"{request.node.name}: {line}"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for each in terminalreporter.stats.values() for report in each]
    calls = [report for report in reports if isinstance(report, pytest.TestReport) and report.when == "call"]
    lines = [value for report in calls for name, value in report.user_properties if name == _FIGURE]
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.write_line(str(line))
