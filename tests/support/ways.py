"""How a test's services get to its database: directly, or with `pytest --pooled` through PgBouncer in transaction mode.

With the option only those tests run that have a database, once each. A test marked ``direct`` has nothing that could go
through a pooler, for the reason that the mark gives. Every other one must give a service the way through it.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.pgbouncer import PrivatePgBouncer

_DATABASES = {"database_url", "postgres"}
"""Fixtures by which a test says that it has a database."""
_open: list[PrivatePgBouncer] = []
"""The pooler, while everything goes through it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--pooled", action="store_true", help="the tests with a database alone, through PgBouncer in transaction mode"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--pooled"):
        left = [item for item in items if not _pooled(item)]
        items[:] = [item for item in items if _pooled(item)]
        config.hook.pytest_deselected(items=left)


def _pooled(item: pytest.Item) -> bool:
    assert isinstance(item, pytest.Function)
    directly = hasattr(item, "callspec") and item.callspec.params.get("way") == "direct"
    return bool(_DATABASES & set(item.fixturenames)) and not directly and item.get_closest_marker("direct") is None


@pytest.fixture(scope="session", autouse=True)
def all_go_through_the_pooler(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.config.getoption("--pooled"):
        _open.append(request.getfixturevalue("pgbouncer"))
    yield
    _open.clear()


def way_to(url: str) -> dict[str, Any]:
    """The settings by which a service reaches the database of this direct URL."""
    if _open and _open[0].leads_to(url):
        return _open[0].way_to(url)
    return {"database_url": url}


def variables_to(url: str, service: str = "") -> dict[str, str]:
    """The same as variables for a process, those of one service when it is named."""
    prefix = f"{service.upper()}_" if service else ""
    return {f"{prefix}{name.upper()}": value for name, value in way_to(url).items()}


def check_the_way(database: str) -> None:
    """Raises AssertionError when all should go through the pooler, and no service was given the way."""
    assert not _open or database in _open[0].led_to, (
        "no service of this test went through the pooler: make its settings with `way_to`, or mark it `direct`"
    )
