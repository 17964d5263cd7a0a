"""Child processes of a local run: started quietly, ended with us, never left to hang.

A child is put in its own session (Ctrl-C reaches only this process, which then stops the children in order), writes to
a log file, and is signalled by the kernel when this process dies in any way, `kill -9` included.
"""

import asyncio
import fcntl
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.02
LOOPBACK = "127.0.0.1"
PORTS: Sequence[int] = range(12000, 32000)
"""Those to choose from: below the range the kernel hands out to clients."""
_given: set[int] = set()


class ServerFailed(RuntimeError):
    """A private server cannot be used; the message gives the reason and, where there is one, the way out."""


@dataclass(frozen=True)
class Child:
    """A running (or ended) child process and the file that holds what it printed."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def running(self) -> bool:
        """Whether the process has not ended yet."""
        return self.process.poll() is None

    def log_tail(self, lines: int = 12) -> str:
        """The last `lines` lines it printed, for error messages."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    async def until_ready(self, probe: Callable[[], Awaitable[bool]], *, seconds: float) -> None:
        """Returns once `probe` answers true; raises ServerFailed if the child ends first or `seconds` pass."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not await probe():
            if not self.running:
                raise ServerFailed(
                    f"{self.name} ended at its start (exit {self.process.returncode}):\n{self.log_tail()}"
                )
            if loop.time() > deadline:
                raise ServerFailed(f"{self.name} was not ready within {seconds:g} s:\n{self.log_tail()}")
            await asyncio.sleep(POLL_SECONDS)

    async def stop(self, *, first: signal.Signals = signal.SIGTERM, patience: float = 5.0) -> int:
        """Sends `first`, after `patience` seconds SIGKILL to the child's whole session; returns the exit status."""
        if self.running:
            self.process.send_signal(first)
            if not await _becomes_true(lambda: not self.running, patience):
                with suppress(ProcessLookupError):
                    os.killpg(self.process.pid, signal.SIGKILL)
        return await asyncio.to_thread(self.process.wait)


def spawn(
    name: str,
    argv: Sequence[str | Path],
    *,
    cwd: Path,
    log: Path,
    env: Mapping[str, str] | None = None,
    identity: Sequence[str] = (),
    death_signal: signal.Signals = signal.SIGKILL,
) -> Child:
    """Starts `argv` in `cwd`; the kernel sends it `death_signal` when this process ends.

    `identity` is a command prefix that changes the user first (it would otherwise undo the death signal). The log of
    the run before is kept as `<log>.previous`. Raises ServerFailed when the program cannot be started.
    """
    if threading.current_thread() is not threading.main_thread():
        # Linux sends the death signal when the *thread* that forked ends: a pool thread would take the server with it.
        raise RuntimeError(f"{name} must be started from the main thread")
    setpriv = shutil.which("setpriv")
    bond = [setpriv, "--pdeathsig", death_signal.name.removeprefix("SIG"), "--"] if setpriv else []
    if log.exists():
        log.replace(log.with_name(f"{log.name}.previous"))
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*identity, *bond, *map(str, argv)],
                cwd=cwd,
                env=None if env is None else dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise ServerFailed(f"{name} cannot be started: {error}") from error
    return Child(name, process, log)


def free_ports(count: int) -> list[int]:
    """`count` different loopback ports nothing listens on, and none that this process was given before."""
    ports: list[int] = []
    with ExitStack() as held:
        while len(ports) < count:
            candidate = random.choice(PORTS)
            if candidate in _given:
                continue
            probe = held.enter_context(socket.socket())
            with suppress(OSError):
                probe.bind((LOOPBACK, candidate))
                ports.append(candidate)
                _given.add(candidate)
    return ports


def port_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def require_port(name: str, port: int) -> None:
    """Raises ServerFailed when `name` could not listen on this loopback port."""
    if not port_free(port):
        raise ServerFailed(f"port {port} is taken, {name} needs another one")


class DirectoryLock:
    """Keeps a second run out of a data directory. The kernel frees it when the holder dies, so it cannot go stale."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file: int | None = None

    def acquire(self) -> None:
        """Makes the directory (mode 0700) and takes the lock; raises ServerFailed if that cannot be done."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ServerFailed(f"{self._directory} cannot be used for data: {error}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(file)
            raise ServerFailed(
                f"{self._directory} is in use by another run: stop that one, or use another directory"
            ) from error
        self._file = file

    def release(self) -> None:
        """Gives the lock back; does nothing when it is not held."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def residents(directory: Path, program: str) -> list[int]:
    """Ids of the live processes named `program` whose working directory is `directory`.

    Both must match: a person's shell standing in the directory is not ours to end. Empty where there is no /proc.
    """
    home = os.path.realpath(directory)
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.readlink(entry / "cwd") == home and (entry / "comm").read_text().strip() == program:
                found.append(int(entry.name))
    return found


async def end_residents(directory: Path, program: str, *, first: signal.Signals, patience: float = 5.0) -> None:
    """Ends what a killed run left behind in `directory`: `first`, then SIGKILL; raises ServerFailed if that fails too.

    Call it only while holding the directory's lock, else it would end a healthy run.
    """
    for chosen in (first, signal.SIGKILL):
        for pid in residents(directory, program):
            with suppress(ProcessLookupError):
                os.kill(pid, chosen)
        if await _becomes_true(lambda: not residents(directory, program), patience):
            return
    raise ServerFailed(f"{program} of an earlier run in {directory} cannot be ended: {residents(directory, program)}")


def private_file(path: Path, content: str) -> None:
    """Writes a secret so that only its owner can read it, whole or not at all."""
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(content)
    unfinished.replace(path)


async def _becomes_true(condition: Callable[[], bool], seconds: float) -> bool:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not condition():
        if loop.time() > deadline:
            return False
        await asyncio.sleep(POLL_SECONDS)
    return True
