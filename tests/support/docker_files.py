"""The Docker files as their own tools read them, and what they say put into Python's terms."""

import json
import re
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
COMPOSE_FILE = REPOSITORY / "docker-compose.yml"
DOCKERFILE = REPOSITORY / "deploy" / "Dockerfile"
_REFERENCE = re.compile(r"\$\{(\w+)(:?[-?])?[^}]*\}")
_PASSED_ON = re.compile(r"^\s+([A-Z][A-Z0-9_]+):\s*(?:#.*)?$", re.MULTILINE)


def demanded() -> set[str]:
    """The variables without which compose refuses the file."""
    text = COMPOSE_FILE.read_text()
    return {found[1] for found in _REFERENCE.finditer(text) if (found[2] or "").endswith("?")}


def read_variables() -> set[str]:
    """Every variable the file takes from `.env`: demanded, with a default, or passed on by its bare name."""
    text = COMPOSE_FILE.read_text()
    return {found[1] for found in _REFERENCE.finditer(text)} | set(_PASSED_ON.findall(text))


def compose(command: list[str], variables: Mapping[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs compose on the file with `variables` as its `.env` and nothing from this process's environment."""
    wheel = find_spec("compose")
    assert wheel is not None
    assert wheel.origin is not None
    env_file = folder / "compose.env"
    env_file.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    program = Path(wheel.origin).parent / "docker-compose"
    whole = [str(program), "--file", str(COMPOSE_FILE), "--env-file", str(env_file), *command]
    return subprocess.run(whole, check=False, capture_output=True, text=True, env={"HOME": str(folder)})


def configuration(variables: Mapping[str, str], folder: Path, *options: str) -> dict[str, Any]:
    """The file after interpolation and merging. Fails with compose's own words when it is wrong."""
    answer = compose([*options, "config", "--format", "json"], variables, folder)
    assert answer.returncode == 0, answer.stderr
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile with its continued lines joined."""

    keyword: str
    rest: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.rest)


def stages() -> dict[str, list[Instruction]]:
    """The Dockerfile's instructions by the name of their stage."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found: dict[str, list[Instruction]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        keyword, _, rest = line.partition(" ")
        if keyword == "FROM":
            found[rest.rpartition(" AS ")[2]] = []
        list(found.values())[-1].append(Instruction(keyword, rest.strip()))
    return found
