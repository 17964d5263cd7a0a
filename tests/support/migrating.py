"""What tests of the migration begin with: the database to move to, where the file lies, where the certificate goes."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.migration import Target


@pytest.fixture
async def target(database_url: str) -> "Target":
    from tests.support.migration import prepare  # it loads all services, which no other test needs

    return await prepare(database_url)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Not made yet."""
    return tmp_path / "dev.db"


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return tmp_path / "certificate.json"
