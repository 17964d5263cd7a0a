"""Makes what is made of other files: slo_rules.yml, the dashboards, and the rules as a cluster takes them."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import yaml

from dashboards import DASHBOARDS
from slo_rules import rules

FOLDER = Path(__file__).resolve().parent
CLUSTER = FOLDER.parent / "kubernetes" / "components" / "monitoring" / "rules.yaml"
MADE = "# Made of {} by `make rules`; change that.\n"


def made() -> dict[Path, str]:
    """Each file and what belongs in it."""
    slos = yaml.safe_load((FOLDER / "slos.yml").read_text("utf-8"))
    promised = rules(slos)
    alerts = yaml.safe_load((FOLDER / "alerts.yml").read_text("utf-8"))
    files = {
        FOLDER / "slo_rules.yml": _yaml("slos.yml", promised),
        CLUSTER: _yaml("alerts.yml and slos.yml", _for_the_operator([*alerts["groups"], *promised["groups"]])),
    }
    for dashboard in DASHBOARDS:
        text = json.dumps(dashboard.as_grafana_reads_it(), indent=1, ensure_ascii=False)
        files[FOLDER / "dashboards" / f"{dashboard.uid}.json"] = f"{text}\n"
    return files


def _for_the_operator(groups: list[Any]) -> dict[str, Any]:
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "entrain", "labels": {"entrain/stage": "serve"}},
        "spec": {"groups": groups},
    }


def _yaml(of: str, document: dict[str, Any]) -> str:
    return MADE.format(of) + yaml.safe_dump(document, sort_keys=False, width=120)


def main() -> int:
    """Writes what differs; the exit status."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    for path, text in made().items():
        if not path.exists() or path.read_text("utf-8") != text:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, "utf-8")
            print(f"wrote {path.relative_to(FOLDER.parents[1])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
