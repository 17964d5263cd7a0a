"""Checks the Kubernetes files offline: builds every overlay and holds each object against Kubernetes' schemas."""

import argparse
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
OVERLAYS = REPOSITORY / "deploy" / "kubernetes" / "overlays"
VERSIONS = ("1.33", "1.37")
"""The oldest that the manifests are for, and the newest whose schemas are at hand."""
OF_OPERATORS = {"keda.sh", "monitoring.coreos.com", "rabbitmq.com"}
"""Kinds of these groups have no schema at hand; tests/unit/test_kubernetes_options.py looks at them."""


def main() -> int:
    """Builds and checks every overlay; the exit status."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    failures = 0
    for overlay in sorted(OVERLAYS.iterdir()):
        found = list(faults(overlay))
        for fault in found:
            print(f"  {fault}")
        print(f"{overlay.relative_to(REPOSITORY)}: {'wrong' if found else 'right'}", flush=True)
        failures += len(found)
    return 1 if failures else 0


def faults(overlay: Path) -> Iterator[str]:
    """What is wrong with an overlay, a line for each fault."""
    kubectl = Path(sysconfig.get_path("scripts")) / "kubectl"
    built = subprocess.run([str(kubectl), "kustomize", str(overlay)], check=False, capture_output=True, text=True)
    if built.returncode:
        yield built.stderr.strip()
        return
    for item in yaml.load_all(built.stdout, yaml.CSafeLoader):
        if item["apiVersion"].partition("/")[0] not in OF_OPERATORS:
            yield from (fault for version in VERSIONS if (fault := fault_of(item, version)))


def fault_of(item: dict[str, Any], version: str) -> str | None:
    """Why Kubernetes of that version would refuse the object or ignore a part of it; None when it would not."""
    name = f"{item['kind']} {item['metadata']['name']}, Kubernetes {version}"
    try:
        kubernetes_validate.validate(item, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{name}: {'.'.join(map(str, error.path))}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError as error:
        return f"{name}: {error.message}"
    return None


if __name__ == "__main__":
    sys.exit(main())
