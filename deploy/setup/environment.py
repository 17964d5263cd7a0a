"""Makes or mends `.venv`: the locked packages, each checked against its hash, and the members of this workspace.

Needs Python 3.11 or later and nothing else: where pip is missing too, its wheel is fetched from Debian into `.cache`.
Quick when nothing changed. Writes inside this folder only, and to uv's package cache in the home folder.
"""

import argparse
import fcntl
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from debian import PrivateApt, SetupFailed, run_quietly
from progress import give_up, step

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = REPOSITORY / ".cache"
VENV = REPOSITORY / ".venv"
LOCK = REPOSITORY / "requirements.lock"
STAMP = VENV / "made-from"
OLDEST_PYTHON = (3, 11)
OLDEST_PIP = (22, 3)  # the first that installs into another environment with --python


def main() -> int:
    """Runs the set-up; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anew", action="store_true", help="make the environment from nothing")
    wanted = parser.parse_args()
    if sys.version_info < OLDEST_PYTHON:
        needed = ".".join(map(str, OLDEST_PYTHON))
        return give_up(f"Python {needed} is needed, this is {platform.python_version()}: make PYTHON=python{needed} …")
    try:
        with only_one():
            ensure(anew=wanted.anew)
    except SetupFailed as failure:
        return give_up(failure)
    return 0


def ensure(*, anew: bool = False) -> None:
    """Returns when `.venv` matches the lock and the members; SetupFailed with the reason when it cannot be made to."""
    members = workspace_members()
    wanted = fingerprint(members)
    if anew:
        shutil.rmtree(VENV, ignore_errors=True)
    if works() and STAMP.exists() and STAMP.read_text() == wanted:
        return
    if not works():
        make_venv()
    STAMP.unlink(missing_ok=True)
    uv = ensure_uv()
    with step("installing the locked packages"):
        # compiled here once: a process that compiles its packages at its start takes seconds longer, every time
        # where PYTHONDONTWRITEBYTECODE is set
        run_uv(uv, "sync", "--require-hashes", "--compile-bytecode", str(LOCK))
    with step("installing the members of the workspace"):
        run_uv(uv, "install", "--no-deps", *[part for member in members for part in ("-e", str(member))])
    STAMP.write_text(wanted)


@contextmanager
def only_one() -> Iterator[None]:
    """Lets one set-up at a time work in this folder; another waits for it and then finds its work done."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "environment.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def workspace_members() -> list[Path]:
    """The folders of the workspace's packages, common first."""
    services = sorted((REPOSITORY / "services").glob("*/"))
    guests = [REPOSITORY / "deploy" / name for name in ("backup", "embedded", "migration", "operations")]
    return [REPOSITORY / "libs/common", *services, *guests]


def fingerprint(members: list[Path]) -> str:
    """Changes when anything the environment is made from does, the folder's own path among it."""
    digest = hashlib.sha256(f"{REPOSITORY} {platform.python_version()}".encode())
    for source in (LOCK, *[member / "pyproject.toml" for member in members], Path(__file__)):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def works() -> bool:
    """Whether `.venv` has an interpreter that runs and is of this very version."""
    python = VENV / "bin/python"
    if not python.exists():
        return False
    asked = [str(python), "-c", "import platform; print(platform.python_version())"]
    return (
        subprocess.run(asked, check=False, capture_output=True, text=True).stdout.strip() == platform.python_version()
    )


def make_venv() -> None:
    """An empty environment, without pip: Debian's bare Python could not provide it."""
    with step(f"making .venv with Python {platform.python_version()}"):
        shutil.rmtree(VENV, ignore_errors=True)
        run_quietly([sys.executable, "-m", "venv", "--without-pip", str(VENV)])


def ensure_uv() -> Path:
    """The installer inside `.venv`, put there by pip from the lock when missing."""
    uv = VENV / "bin/uv"
    if uv.exists():
        return uv
    pip = find_pip()
    wanted = CACHE / "uv.requirements"
    wanted.write_text(locked("uv"))
    with step("installing uv"):
        options = ["--quiet", "--no-deps", "--require-hashes", "--no-warn-script-location", "-r", str(wanted)]
        run_quietly([*pip.command, "install", *options], env=pip.environment)
    return uv


def locked(name: str) -> str:
    """The lock's lines for one package: its pinned version and hashes."""
    lines = LOCK.read_text().splitlines()
    for number, line in enumerate(lines):
        if line.startswith(f"{name}=="):
            block = [line]
            while block[-1].endswith("\\"):
                block.append(lines[number + len(block)])
            return "\n".join(block) + "\n"
    raise SetupFailed(f"{LOCK.name} does not pin {name}: run make lock")


class Pip:
    """A pip that can install into `.venv`, and how to call it."""

    def __init__(self, command: list[str], environment: dict[str, str] | None = None) -> None:
        """`command`: what goes before `install`; `environment`: variables it needs."""
        self.command = command
        self.environment = environment


def find_pip() -> Pip:
    """This Python's own pip, else the wheel it carries for new environments, else Debian's wheel of it."""
    if importlib.util.find_spec("pip") is not None and own_pip_version() >= OLDEST_PIP:
        return Pip([sys.executable, "-m", "pip", "--python", str(VENV / "bin/python")])
    if importlib.util.find_spec("ensurepip") is not None:
        from ensurepip import __path__ as carried

        for wheel in Path(carried[0], "_bundled").glob("pip-*.whl"):
            return pip_in(wheel)
    wheels = CACHE / "pip"
    if not list(wheels.glob("usr/share/python-wheels/pip-*.whl")):
        with step("fetching pip from Debian"):
            PrivateApt(CACHE / "apt").unpack(["python3-pip-whl"], wheels, together=["python3-pip"])
    for wheel in wheels.glob("usr/share/python-wheels/pip-*.whl"):
        return pip_in(wheel)
    raise SetupFailed("this Python has no pip: install it (Debian: apt-get install python3-venv) and run this again")


def own_pip_version() -> tuple[int, ...]:
    """Major and minor version of the pip beside this Python."""
    from importlib.metadata import version

    return tuple(int(part) for part in version("pip").split(".")[:2])


def pip_in(wheel: Path) -> Pip:
    """pip run straight from its wheel by the environment's Python."""
    return Pip([str(VENV / "bin/python"), "-m", "pip"], {"PYTHONPATH": str(wheel)})


def run_uv(uv: Path, *command: str) -> None:
    """Runs `uv pip …` on `.venv`; it never fetches a Python, and keeps its cache here when there is no home folder."""
    environment = {"UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1", "VIRTUAL_ENV": str(VENV)}
    if "UV_CACHE_DIR" not in os.environ and not os.access(os.path.expanduser("~"), os.W_OK):
        environment["UV_CACHE_DIR"] = str(CACHE / "uv")
    run_quietly([str(uv), "pip", *command], cwd=REPOSITORY, env=environment)


if __name__ == "__main__":
    sys.exit(main())
