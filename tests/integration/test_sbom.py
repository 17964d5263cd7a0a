"""The bill of materials of each image names every package it is installed from, with its version and hashes."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
LISTS = sorted((REPOSITORY / "deploy" / "requirements").glob("*.txt"))


@pytest.fixture(scope="module")
def bills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bills")
    command = [sys.executable, str(REPOSITORY / "deploy/setup/sbom.py"), "--unchecked", "--into", str(folder)]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return folder


@pytest.mark.parametrize("listed", LISTS, ids=lambda path: path.stem)
def test_every_package_of_an_image_is_in_its_bill(listed: Path, bills: Path) -> None:
    bill = json.loads((bills / f"{listed.stem}.cdx.json").read_text())
    wanted = {}
    for block in re.split(r"\n(?=\S)", listed.read_text().strip()):
        pin = re.match(r"([\w.-]+)==(\S+)", block)
        assert pin is not None
        wanted[pin[1], pin[2]] = set(re.findall(r"--hash=sha256:([0-9a-f]{64})", block))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["name"] == f"entrain-{listed.stem}"
    assert {(part["name"], part["version"]): hashes(part) for part in bill["components"]} == wanted
    assert all(wanted.values())
    for part in bill["components"]:
        assert part["purl"] == f"pkg:pypi/{part['name'].lower()}@{part['version']}"


def hashes(part: dict[str, Any]) -> set[str]:
    return {one["content"] for place in part["externalReferences"] for one in place.get("hashes", ())}
