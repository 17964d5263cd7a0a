"""What must be seen of the running product once a journey was played through it."""

from functools import partial
from typing import Any

import aiohttp

from tests.support.deployment import Deployment
from tests.support.event_ledger import until
from tests.support.prometheus import PrivatePrometheus, metrics_named_in, panel_queries, rules

SEEN_SECONDS = 60.0
ASKED = 'sum(http_requests_total{service="gateway",route="/affirmations/generate"})'


def jobs_of(deployment: Deployment) -> dict[str, int]:
    """The deployment's processes as deploy/observability/prometheus.yml names them, with the ports of their metrics."""
    ports = {name: process.health.rpartition(":")[2] for name, process in deployment.processes.items()}
    return {name.replace(" ", "-"): int(port.partition("/")[0]) for name, port in ports.items()}


async def everything_is_seen(prometheus: PrivatePrometheus, deployment: Deployment, user_id: str) -> None:
    """Each rule and each panel is answered, and says something unless silence is good news."""
    await _ask_again_for_what_was_asked_once(prometheus, deployment, user_id)
    silent = [(panel.title, query) for panel, query in panel_queries() if not panel.quiet]

    async def all_told() -> bool:
        while silent and await prometheus.query(silent[-1][1]):
            silent.pop()
        return not silent

    assert await until(all_told, SEEN_SECONDS), f"panels without data: {silent}"
    for panel, query in panel_queries():
        assert await prometheus.query(query) or panel.quiet
    await _rules_are_evaluated(prometheus)
    await _metrics_are_exposed(prometheus)
    await deployment.run("media", "invariants")


async def _ask_again_for_what_was_asked_once(prometheus: PrivatePrometheus, deployment: Deployment, user: str) -> None:
    """A series that begins at 1 does not grow until it is 2, with a scrape between the two."""
    headers = {"Authorization": f"Bearer {deployment.token(user)}"}
    wish = {"sessionType": "Confidence", "goal": "speak calmly", "count": 6}
    async with aiohttp.ClientSession(deployment.url, headers=headers) as http:
        for _ in range(2):
            before = await prometheus.query(ASKED)
            async with http.post("/affirmations/generate", json=wish) as answer:
                assert answer.status in (200, 403), await answer.text()
            assert await until(partial(_grew, prometheus, before), SEEN_SECONDS)


async def _grew(prometheus: PrivatePrometheus, before: list[Any]) -> bool:
    now = await prometheus.query(ASKED)
    return float(now[0]["value"][1]) > (float(before[0]["value"][1]) if before else 0.0)


async def _rules_are_evaluated(prometheus: PrivatePrometheus) -> None:
    groups = (await prometheus.ask("rules"))["groups"]
    found = [rule for group in groups for rule in group["rules"]]
    assert len(found) == len(list(rules()))
    assert [(rule["name"], rule.get("lastError")) for rule in found if rule["health"] != "ok"] == []


async def _metrics_are_exposed(prometheus: PrivatePrometheus) -> None:
    exposed = await prometheus.families()
    named = set().union(*(metrics_named_in(query) for query in [*rules(), *(query for _, query in panel_queries())]))
    assert len(named) > 40
    assert named - exposed == set()
