"""Renews requirements.lock, the images' lists and those of the toolbox after a change of dependencies.

Versions stay as they are locked unless they are told to move: `--upgrade NAME` moves one package, `--upgrade` all.
uv's own lock is not committed, because it records where packages came from; where it is missing it is made again from
requirements.lock.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from debian import SetupFailed, run_quietly
from progress import give_up, step

REPOSITORY = Path(__file__).resolve().parents[2]
IMAGES = ("gateway", "identity", "billing", "media", "backup", "operations")
SETTINGS = "[tool.uv]\n"


def main() -> int:
    """Runs the renewal; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upgrade", metavar="NAME", nargs="*", help="move these packages, or all when none is named")
    wanted = parser.parse_args()
    try:
        renew(REPOSITORY, wanted.upgrade)
    except SetupFailed as failure:
        return give_up(failure)
    return 0


def renew(repository: Path, upgrade: list[str] | None) -> None:
    """``upgrade``: None moves nothing, an empty list everything, names these. Raises SetupFailed."""
    if not (repository / "uv.lock").exists() and upgrade != []:
        with step("making uv.lock again from requirements.lock"):
            remember(repository)
    moved = [option for name in upgrade or () for option in ("--upgrade-package", name)]
    with step("resolving"):
        uv(repository, "lock", *(["--upgrade"] if upgrade == [] else moved))
    with step("writing the lists"):
        export(repository, "requirements.lock", "--all-packages")
        for image in IMAGES:
            export(repository, f"deploy/requirements/{image}.txt", "--package", f"entrain-{image}", "--no-dev")
    with step("resolving the toolbox"):
        for wanted in sorted(repository.glob("deploy/setup/toolbox/*.in")):
            pin(repository, wanted, moved if upgrade else ["--upgrade"] if upgrade == [] else [])


def remember(repository: Path) -> None:
    """Resolves a copy of the workspace that is held to the locked versions, and takes its lock over."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch)
        for project in projects(repository):
            (copy / project).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(repository / project, copy / project)
        root = copy / "pyproject.toml"
        held = "".join(f"  {json.dumps(line)},\n" for line in locked(repository / "requirements.lock"))
        text = root.read_text().replace(SETTINGS, f"{SETTINGS}constraint-dependencies = [\n{held}]\n", 1)
        root.write_text(text)
        uv(repository, "lock", "--project", str(copy))
        shutil.copy(copy / "uv.lock", repository / "uv.lock")


def projects(repository: Path) -> Iterator[Path]:
    """The workspace's pyproject.toml files, relative."""
    for pattern in ("pyproject.toml", "libs/*/pyproject.toml", "services/*/pyproject.toml", "deploy/*/pyproject.toml"):
        yield from (found.relative_to(repository) for found in sorted(repository.glob(pattern)))


def locked(requirements: Path) -> Iterator[str]:
    """Each locked package with its version and markers, without hashes."""
    for line in requirements.read_text().splitlines():
        if line and not line.startswith((" ", "#", "-")):
            yield line.removesuffix("\\").strip()


def export(repository: Path, target: str, *which: str) -> None:
    """Writes a list with hashes and without addresses."""
    form = ("--quiet", "--frozen", "--no-emit-workspace", "--no-header", "--format", "requirements-txt")
    uv(repository, "export", *form, *which, "--output-file", target)


def pin(repository: Path, wanted: Path, options: list[str]) -> None:
    """Writes the list beside ``wanted``: exact versions, with hashes and without addresses."""
    form = ("--quiet", "--universal", "--python-version", "3.11", "--generate-hashes", "--no-header", "--no-annotate")
    uv(repository, "pip", "compile", *form, *options, str(wanted), "--output-file", str(wanted.with_suffix(".txt")))


def uv(repository: Path, *arguments: str) -> None:
    run_quietly([str(repository / ".venv" / "bin" / "uv"), "--directory", str(repository), *arguments])


if __name__ == "__main__":
    sys.exit(main())
