"""Two ways to ask: as fast as answers come (wrk), and at a steady rate whatever the answers do."""

import json
import select
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.proxies import PATH, bearer

HEADERS = {
    "Host": "api.bench.test",
    "Accept": "application/json",
    "Accept-Encoding": "gzip",
    "User-Agent": "Entrain/1.4.2 (iPhone; iOS 19.1)",
}
"""What the app sends beside its token."""
_PATIENCE_SECONDS = 5.0
_MOST_WAITING = 500
"""Answers waited for at once; what is due beyond them goes out late and is timed from when it was due all the same."""
_ROTATION = """\
local requests, place = {}, 0
for token in io.lines("%s") do
  requests[#requests + 1] = wrk.format("GET", nil, {%s, ["Authorization"] = "Bearer " .. token})
end
function request()
  place = place %% #requests + 1
  return requests[place]
end
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format('{"requests": %%d, "seconds": %%f, "p50": %%f, "p99": %%f, "refused": %%d, "failed": %%d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
"""


@dataclass(frozen=True)
class Saturation:
    """What came back when every connection asked again at once."""

    requests: int
    per_second: float
    p50: float
    """Milliseconds."""
    p99: float


def saturate(wrk: str, port: int, tokens: Path, *, connections: int, seconds: float) -> Saturation:
    """``tokens`` holds one a line; they are used in rotation. Raises RuntimeError unless every answer was good."""
    script = tokens.with_suffix(".lua")
    headers = ", ".join(f'["{name}"] = "{value}"' for name, value in HEADERS.items())
    script.write_text(_ROTATION % (tokens, headers))
    much = ["-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "10s"]
    command = [wrk, *much, "-s", str(script), f"http://127.0.0.1:{port}{PATH}"]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 60).stdout
    found = json.loads(output.splitlines()[-1])
    if found["refused"] or found["failed"] or not found["requests"]:
        raise RuntimeError(f"not every answer was good: {found}")
    return Saturation(found["requests"], found["requests"] / found["seconds"], found["p50"], found["p99"])


@dataclass
class _Line:
    """One kept connection and the answer it waits for."""

    socket: socket.socket
    intended: float = 0.0
    received: bytearray = field(default_factory=bytearray)

    def send(self, request: bytes, intended: float) -> None:
        self.intended = intended
        self.received.clear()
        self.socket.sendall(request)

    def answered(self) -> bool:
        """Takes what is there. Raises ConnectionError for any answer but a whole 200."""
        chunk = self.socket.recv(65536)
        if not chunk:
            raise ConnectionError("closed before the answer")
        self.received += chunk
        head, _, body = bytes(self.received).partition(b"\r\n\r\n")
        if not _:
            return False
        if not head.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(f"answered {head[:40]!r}")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        return len(body) >= int(length)


def steady(port: int, requests: Iterator[bytes], *, rate: float, seconds: float) -> list[float]:
    """Milliseconds of each answer since the instant its request was due, whether or not it could go out by then.

    Requests are due at equal distances. Plain blocking sockets and ``select``, whose time-outs are finer than the
    millisecond of an event loop; a request that finds no free connection opens one.
    """
    free: list[_Line] = []
    waiting: dict[socket.socket, _Line] = {}
    times: list[float] = []
    started = progress = time.perf_counter() + 0.05
    count, sent = int(rate * seconds), 0
    try:
        while len(times) < count:
            now, due = time.perf_counter(), started + sent / rate
            held = sent == count or len(waiting) == _MOST_WAITING
            if now >= due and not held:
                line = free.pop() if free else _Line(_connected(port))
                line.send(next(requests), due)
                waiting[line.socket] = line
                sent += 1
                due += 1 / rate
            if now > progress + _PATIENCE_SECONDS:
                raise TimeoutError(f"{len(waiting)} requests were not answered")
            pause = _PATIENCE_SECONDS if held else max(0.0, due - time.perf_counter())
            for ready in select.select([*waiting], [], [], pause)[0]:
                if waiting[ready].answered():
                    line = waiting.pop(ready)
                    progress = time.perf_counter()
                    times.append((progress - line.intended) * 1000)
                    free.append(line)
    finally:
        for line in (*free, *waiting.values()):
            line.socket.close()
    return times


def _connected(port: int) -> socket.socket:
    opened = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_SECONDS)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened


def request_bytes(token: str) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in (HEADERS | bearer(token)).items())
    return f"GET {PATH} HTTP/1.1\r\n{lines}\r\n".encode()


def percentile(times: Sequence[float], percent: float) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
