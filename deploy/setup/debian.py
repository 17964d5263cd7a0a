"""Debian packages without installing them: fetched with apt into a private folder and unpacked there, as any user."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path


class SetupFailed(Exception):
    """The machine cannot be set up; the message gives the reason and the way out in a line."""


class PrivateApt:
    """apt with its index and downloads in a folder of ours: no root, no system lock, no system file changed.

    The system's package sources and keys are used, and its list of installed packages, so that only what is missing is
    fetched.
    """

    _SYSTEM_STATUS = Path("/var/lib/dpkg/status")

    def __init__(self, folder: Path) -> None:
        """`folder` holds index and downloads for as long as they are needed. SetupFailed where there is no apt."""
        missing = [program for program in ("apt-get", "dpkg") if shutil.which(program) is None]
        if missing:
            raise SetupFailed(f"{missing[0]} is not here: this works on Debian and its relatives only")
        self._folder = folder
        self._archives = folder / "archives"
        self._status = folder / "status"
        settings = {
            "Dir::State": folder / "state",
            "Dir::State::status": self._status,
            "Dir::Cache": folder,
            "Dir::Cache::archives": self._archives,
            "Dir::Log": folder,
            "Debug::NoLocking": "true",
            "APT::Sandbox::User": "root",
        }
        self._options = [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]

    def unpack(self, packages: Sequence[str], destination: Path, *, together: Sequence[str] = ()) -> list[str]:
        """Fetches `packages` and what they need and this system lacks, and unpacks all of it.

        Names beginning with one of `together` are fetched even if installed: they only work side by side. Returns the
        names of the unpacked files; SetupFailed with apt's own last words when one cannot be had.
        """
        shutil.rmtree(self._folder, ignore_errors=True)
        for path in (self._folder / "state/lists/partial", self._archives / "partial"):
            path.mkdir(parents=True)
        self._status.write_text(without(self._SYSTEM_STATUS.read_text(), together))
        self._run(["update"])
        self._run(["install", "--download-only", "--no-install-recommends", "-y", *packages])
        fetched = sorted(self._archives.glob("*.deb"))
        destination.mkdir(parents=True, exist_ok=True)
        for package in fetched:
            run_quietly(["dpkg", "-x", str(package), str(destination)])
        shutil.rmtree(self._folder)
        return [package.name for package in fetched]

    def _run(self, command: Sequence[str]) -> None:
        run_quietly(["apt-get", "-q", *self._options, *command], cwd=self._archives)


def without(status: str, prefixes: Sequence[str]) -> str:
    """dpkg's list of installed packages less those whose name begins with one of `prefixes`."""
    unwanted = tuple(f"Package: {prefix}" for prefix in prefixes)
    return "\n\n".join(entry for entry in status.split("\n\n") if not (unwanted and entry.startswith(unwanted)))


def run_quietly(command: Sequence[str], cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    """Runs `command`; SetupFailed with the last lines it printed when it fails."""
    surroundings = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8", **(env or {})}
    ended = subprocess.run(
        command, cwd=cwd, env=surroundings, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if ended.returncode != 0:
        said = "\n".join(ended.stdout.strip().splitlines()[-6:])
        raise SetupFailed(f"`{' '.join(command[:2])} …` failed (exit {ended.returncode}):\n{said}")
