"""Rules, dashboards and runbooks belong together, and Prometheus's own tool finds nothing wrong with them."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from generate import CLUSTER, made
from tests.support.prometheus import OBSERVABILITY, program

REPOSITORY = Path(__file__).resolve().parents[2]
RUNBOOKS = REPOSITORY / "docs" / "runbooks.md"
RULES = ("alerts.yml", "slo_rules.yml")


def alerts() -> dict[str, Any]:
    files = [yaml.safe_load((OBSERVABILITY / name).read_text("utf-8")) for name in RULES]
    rules = [rule for file in files for group in file["groups"] for rule in group["rules"]]
    return {rule["alert"]: rule for rule in rules if "alert" in rule}


def promtool(*arguments: str) -> None:
    asked = subprocess.run(
        [program("promtool"), *arguments], cwd=OBSERVABILITY, check=False, capture_output=True, text=True
    )
    assert asked.returncode == 0, asked.stdout + asked.stderr


def test_the_rules_and_the_configuration_are_well_formed() -> None:
    promtool("check", "rules", *RULES)
    promtool("check", "config", "prometheus.yml")


def test_alerts_fire_when_they_must_and_only_then() -> None:
    promtool("test", "rules", *sorted(path.name for path in OBSERVABILITY.glob("*.test.yml")))


@pytest.mark.parametrize("name", sorted(alerts()))
def test_an_alert_is_tried_out_and_has_a_runbook(name: str) -> None:
    alert = alerts()[name]
    tried = "".join(path.read_text("utf-8") for path in OBSERVABILITY.glob("*.test.yml"))

    assert re.search(rf'alertname(="|: ){name}\b', tried)
    assert alert["labels"]["severity"] in ("page", "ticket")
    assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert alert["annotations"]["runbook_url"] == f"docs/runbooks.md#{name.lower()}"


def test_every_page_of_the_runbooks_is_of_an_alert_and_complete() -> None:
    pages = re.split(r"^## ", RUNBOOKS.read_text("utf-8"), flags=re.MULTILINE)[1:]

    assert {page.partition("\n")[0] for page in pages} == set(alerts())
    for page in pages:
        parts = re.findall(r"^\*\*(.+?):?\*\*", page, re.MULTILINE)
        assert parts == ["Users", "Look", "Do", "Over when"], page.partition("\n")[0]


def test_references_between_pages_lead_somewhere() -> None:
    anchors = set(re.findall(r"\]\(#(\w+)\)", RUNBOOKS.read_text("utf-8")))

    assert anchors <= {name.lower() for name in alerts()}


def test_commands_named_in_the_runbooks_are_there() -> None:
    named = re.findall(r"python -m\s+([a-zA-Z]+)\s+([a-z-]+)", RUNBOOKS.read_text("utf-8"))
    common = {"migrate", "invariants", "parked"}
    own = {"entrain": {"outbox"}, "billing": {"explain", "reconcile", "announce"}, "identity": {"deletions"}}

    assert {(module, command) for module, command in named if command not in own.get(module, set()) | common} == set()


def test_what_is_made_of_other_files_is_made_of_them_as_they_are() -> None:
    """`make rules` makes them."""
    there = {*OBSERVABILITY.glob("dashboards/*.json"), OBSERVABILITY / "slo_rules.yml", CLUSTER}

    assert {path: path.read_text("utf-8") for path in there} == made()
