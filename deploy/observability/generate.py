"""Makes the files here that are made of others: slo_rules.yml of slos.yml, and the dashboards of dashboards.py."""

import argparse
import json
import sys
from pathlib import Path

import yaml

from dashboards import DASHBOARDS
from slo_rules import rules

FOLDER = Path(__file__).resolve().parent
MADE = "# Made of slos.yml by `make rules`; change that.\n"


def made() -> dict[Path, str]:
    """Each file and what belongs in it."""
    slos = yaml.safe_load((FOLDER / "slos.yml").read_text("utf-8"))
    files = {FOLDER / "slo_rules.yml": MADE + yaml.safe_dump(rules(slos), sort_keys=False, width=120)}
    for dashboard in DASHBOARDS:
        text = json.dumps(dashboard.as_grafana_reads_it(), indent=1, ensure_ascii=False)
        files[FOLDER / "dashboards" / f"{dashboard.uid}.json"] = f"{text}\n"
    return files


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
