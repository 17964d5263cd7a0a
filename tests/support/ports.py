"""Ports that no two processes of a run are given: each of pytest's workers draws from a share of its own."""

import os

from embedded import processes


def pytest_configure() -> None:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    processes.PORTS = processes.PORTS[int(worker) :: workers]
