"""How the command line finds the product that is running, and talks to it.

The running product writes its control address and a secret into ``<data>/run.json`` (0600), and under the user's own
folder of the system's temporary directory a note that says which data folder serves which port.
"""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp

from embedded.kept_files import write_private
from embedded.local_server import LOOPBACK

RUN_FILE = "run.json"
ANSWER_SECONDS = 30.0


class NotRunning(Exception):
    """Nothing answers there; the message says how to start it."""


class ControlRefused(Exception):
    """The running product would not do it; the message says why."""


@dataclass(frozen=True)
class Run:
    """``port`` is the public one, ``control_port`` the control API's, ``secret`` opens it."""

    port: int
    control_port: int
    secret: str


def record_run(data_dir: Path, run: Run) -> None:
    """Makes the running product findable by its data folder and by its port."""
    place = (data_dir / RUN_FILE).resolve()
    write_private(place, json.dumps(asdict(run)).encode())
    _notes().mkdir(mode=0o700, exist_ok=True)
    if _notes_are_ours():
        write_private(_note(run.port), str(place).encode())


def forget_run(data_dir: Path, port: int) -> None:
    """After an orderly stop; after a crash the next start overwrites what was left."""
    (data_dir / RUN_FILE).unlink(missing_ok=True)
    if _notes_are_ours():
        _note(port).unlink(missing_ok=True)


def find_run(data_dir: Path, port: int) -> Run:
    """The product on ``port``: the one of ``data_dir`` if that is its port, else the one noted. Raises NotRunning."""
    places = [data_dir / RUN_FILE]
    if _notes_are_ours() and _note(port).exists():
        places.append(Path(_note(port).read_text()))
    for place in places:
        run = _read(place)
        if run is not None and run.port == port:
            return run
    raise _not_running(port)


async def call_control(data_dir: Path, port: int, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """POSTs ``body`` to the control API of the product on ``port``. Raises NotRunning or ControlRefused."""
    run = find_run(data_dir, port)
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    headers = {"Authorization": f"Bearer {run.secret}"}
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
            session.post(f"http://{LOOPBACK}:{run.control_port}{path}", json=body) as answer,
        ):
            content: dict[str, Any] = await answer.json()
            status = answer.status
    except aiohttp.ClientConnectionError:
        raise _not_running(port) from None
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise ControlRefused(f"the product on port {port} gave no proper answer: {error!r}") from error
    if status != 200:
        raise ControlRefused(content.get("message", f"the product on port {port} answered {status}"))
    return content


def _read(place: Path) -> Run | None:
    try:
        return Run(**json.loads(place.read_bytes()))
    except FileNotFoundError:
        return None
    except PermissionError:
        raise ControlRefused(f"{place} belongs to another user: run this command as the one who started it") from None
    except (ValueError, TypeError) as error:
        raise ControlRefused(f"{place} is damaged ({error}): start the product again") from error


def _not_running(port: int) -> NotRunning:
    way_out = "`make run`" if port == 8787 else f'`make run ARGS="--port {port}"`'
    return NotRunning(f"nothing is running on port {port}: start it with {way_out}, or name its port with --port")


def _notes() -> Path:
    return Path(tempfile.gettempdir()) / f"entrain-{os.getuid()}"


def _note(port: int) -> Path:
    return _notes() / f"{port}.run"


def _notes_are_ours() -> bool:
    """The temporary directory is everybody's: a folder made by another user, or open to one, is left alone."""
    try:
        found = _notes().lstat()
    except FileNotFoundError:
        return False
    return found.st_uid == os.getuid() and found.st_mode & 0o077 == 0 and not _notes().is_symlink()
