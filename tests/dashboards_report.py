"""Draws the dashboards as the running product fills them: starts it, plays people through it, asks Prometheus.

    python -m tests.dashboards_report [--journeys 15] [--folder docs/observability]

Takes about a minute and a half. Needs matplotlib, which is not in the lock: install it beside, as
`.venv/bin/uv pip install --target .cache/plot matplotlib`, and run with PYTHONPATH=.cache/plot.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp

from embedded.journey import Journey
from tests.support.deployment import Deployment
from tests.support.prometheus import PrivatePrometheus, ShownPanel, dashboards
from tests.support.servers_apart import servers_apart
from tests.support.watched_product import jobs_of

Series = dict[str, list[tuple[float, float]]]
STEP_SECONDS = 2
MOST_LINES = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--journeys", type=int, default=15, help="how many people come, one after another")
    parser.add_argument("--folder", type=Path, default=Path("docs/observability"), help="where the pictures go")
    wanted = parser.parse_args()
    wanted.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(_recorded(Path(folder), wanted.journeys))
    for name, panels in dashboards().items():
        picture = wanted.folder / f"{name}.png"
        _draw(panels, found, picture)
        print(f"wrote {picture}", flush=True)


async def _recorded(folder: Path, journeys: int) -> Mapping[str, Series]:
    """Every panel's series, by title."""
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(servers_apart(folder))
        deployment = await stack.enter_async_context(servers.deployment())
        prometheus = await stack.enter_async_context(PrivatePrometheus(folder / "prometheus", jobs_of(deployment)))
        began = time.time()
        await deployment.seed()
        await _play(deployment, journeys)
        return {one.title: await _range(prometheus, one, began) for panels in dashboards().values() for one in panels}


async def _play(deployment: Deployment, journeys: int) -> None:
    looking = asyncio.create_task(_look_around(deployment))
    for number in range(journeys):
        print(f"journey {number + 1} of {journeys}", flush=True)
        await Journey(deployment.url, deployment, tell=print).play(f"user_{number}")
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)


async def _look_around(deployment: Deployment) -> None:
    """Somebody browses all the time."""
    async with aiohttp.ClientSession(deployment.url) as http:
        while True:
            headers = {"Authorization": f"Bearer {deployment.token('user_browsing')}"}
            for path in ("/me", "/sessions", "/me/entitlement", "/voices", "/me/subscription"):
                async with http.get(path, headers=headers) as answer:
                    await answer.read()
                await asyncio.sleep(0.3)


async def _range(prometheus: PrivatePrometheus, panel: ShownPanel, began: float) -> Series:
    series: Series = {}
    for legend, query in panel.queries.items():
        asked = {"start": str(began), "end": str(time.time()), "step": str(STEP_SECONDS)}
        found = await prometheus.ask("query_range", query=query, **asked)
        for line in found["result"]:
            name = legend
            for label, value in line["metric"].items():
                name = name.replace(f"{{{{{label}}}}}", value)
            points = [(float(at) - began, float(value)) for at, value in line["values"]]
            series[name] = [(at, value) for at, value in points if math.isfinite(value)]
    return series


def _draw(panels: Sequence[ShownPanel], found: Mapping[str, Series], picture: Path) -> None:
    from matplotlib import pyplot  # type: ignore[import-not-found, unused-ignore]

    rows = math.ceil(len(panels) / 3)
    figure, places = pyplot.subplots(rows, 3, figsize=(15, 3 * rows), layout="constrained", squeeze=False)
    for place in places.flat[len(panels) :]:
        place.set_visible(False)
    for place, panel in zip(places.flat, panels, strict=False):
        _draw_panel(place, panel, found[panel.title])
    figure.savefig(picture, dpi=70, pil_kwargs={"optimize": True})
    pyplot.close(figure)


def _draw_panel(place: Any, panel: ShownPanel, series: Series) -> None:
    place.set_title(f"{panel.title}, {panel.unit}", fontsize=9)
    place.tick_params(labelsize=7)
    place.set_xlabel("seconds", fontsize=6)
    highest = sorted(series, key=lambda name: -max((value for _, value in series[name]), default=0.0))
    for name in highest[:MOST_LINES]:
        place.plot([at for at, _ in series[name]], [value for _, value in series[name]], label=name, linewidth=1)
    if highest:
        place.legend(fontsize=5, loc="upper left")
        most = max((value for points in series.values() for _, value in points), default=0.0)
        place.set_ylim(0, most * 1.1 or 1)
    else:
        place.text(0.5, 0.5, "nothing", ha="center", transform=place.transAxes, fontsize=8)


if __name__ == "__main__":
    main()
