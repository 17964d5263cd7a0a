"""A private Prometheus that scrapes the product under test, and what our rules and dashboards ask of one."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp
import yaml

from embedded.processes import LOOPBACK, Child, ServerFailed, free_ports, spawn

REPOSITORY = Path(__file__).resolve().parents[2]
OBSERVABILITY = REPOSITORY / "deploy" / "observability"
UNPACKED = REPOSITORY / ".cache" / "prometheus" / "usr" / "bin"
START_SECONDS = 30.0
RATE_INTERVAL = "1m"
"""What Grafana would put in the place of ``$__rate_interval``."""
_WORDS = {"sum", "max", "min", "count", "by", "on", "and", "or", "offset", "rate", "increase", "time", "vector"}
_WORDS |= {"absent", "histogram_quantile", "sum_over_time"}
_TEXT = re.compile(r'"[^"]*"')
_NO_NAME = re.compile(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|on|without) \([^)]*\)|offset \w+")


def program(name: str) -> str:
    """Where `prometheus` or `promtool` is. Raises ServerFailed with the way out."""
    found = shutil.which(name, path=str(UNPACKED)) or shutil.which(name)
    if found is None:
        raise ServerFailed(f"no {name} here: run `python3 deploy/setup/prometheus.py`")
    return found


@dataclass(frozen=True, slots=True)
class ShownPanel:
    """A panel of a dashboard as Grafana has it. ``queries`` by legend; ``quiet``: no data is good news."""

    title: str
    unit: str
    queries: dict[str, str]
    quiet: bool


def dashboards() -> dict[str, list[ShownPanel]]:
    """The panels of each dashboard, by the name of its file."""
    files = sorted((OBSERVABILITY / "dashboards").glob("*.json"))
    return {path.stem: [_panel(panel) for panel in json.loads(path.read_text("utf-8"))["panels"]] for path in files}


def _panel(panel: dict[str, Any]) -> ShownPanel:
    queries = {
        target["legendFormat"]: target["expr"].replace("$__rate_interval", RATE_INTERVAL) for target in panel["targets"]
    }
    return ShownPanel(panel["title"], panel["fieldConfig"]["defaults"]["unit"], queries, bool(panel["description"]))


def panel_queries() -> Iterator[tuple[ShownPanel, str]]:
    """Every query of every dashboard."""
    for panels in dashboards().values():
        for panel in panels:
            yield from ((panel, query) for query in panel.queries.values())


def rules() -> Iterator[str]:
    """The expression of every rule."""
    for name in ("alerts.yml", "slo_rules.yml"):
        for group in yaml.safe_load((OBSERVABILITY / name).read_text("utf-8"))["groups"]:
            yield from (rule["expr"] for rule in group["rules"])


def metrics_named_in(expression: str) -> set[str]:
    """The scraped metrics of an expression: what rules record is not among them."""
    words = re.findall(r"[a-zA-Z_:][\w:]*", _NO_NAME.sub(" ", _TEXT.sub("", expression)))
    return {word for word in words if word not in _WORDS and ":" not in word and word not in ("up", "ALERTS")}


class PrivatePrometheus:
    """``async with PrivatePrometheus(folder, {"gateway": 8887}) as prometheus``: jobs by name, with their ports.

    Scrapes every two seconds, and evaluates our rules every five.
    """

    def __init__(self, folder: Path, jobs: Mapping[str, int]) -> None:
        self._folder = folder
        self._jobs = jobs
        (self.port,) = free_ports(1)
        self._server: Child

    async def __aenter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        configuration = self._folder / "prometheus.yml"
        configuration.write_text(json.dumps(self._configuration()))
        command = [
            program("prometheus"),
            f"--config.file={configuration}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address={LOOPBACK}:{self.port}",
        ]
        log = self._folder / "prometheus.log"
        self._server = spawn("Prometheus", command, cwd=self._folder, log=log)
        self._http = aiohttp.ClientSession(f"http://{LOOPBACK}:{self.port}")
        try:
            await self._server.until_ready(self._ready, seconds=START_SECONDS)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()
        await self._server.stop()

    def _configuration(self) -> dict[str, Any]:
        jobs = [
            {"job_name": name, "static_configs": [{"targets": [f"{LOOPBACK}:{port}"]}]}
            for name, port in self._jobs.items()
        ]
        return {
            "global": {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "5s"},
            "rule_files": [str(OBSERVABILITY / name) for name in ("alerts.yml", "slo_rules.yml")],
            "scrape_configs": jobs,
        }

    async def _ready(self) -> bool:
        try:
            async with self._http.get("/-/ready") as answer:
                return answer.status == 200
        except aiohttp.ClientConnectionError:
            return False

    async def ask(self, path: str, **parameters: str) -> Any:
        """``data`` of an answer of the HTTP API. Raises AssertionError with Prometheus's own words."""
        async with self._http.get(f"/api/v1/{path}", params=parameters) as answer:
            body = await answer.json()
            assert body["status"] == "success", f"{parameters}: {body.get('error')}"
            return body["data"]

    async def query(self, expression: str) -> list[Any]:
        """The samples an expression has now."""
        found = (await self.ask("query", query=expression))["result"]
        return found if isinstance(found, list) else [found]

    async def families(self) -> set[str]:
        """The names of all metrics that the scraped processes describe, with and without samples."""
        found = await self.ask("metadata")
        histograms = {name for name, entries in found.items() if entries[0]["type"] == "histogram"}
        return set(found) | {f"{name}_{part}" for name in histograms for part in ("bucket", "count", "sum")}
