"""How long a session takes from text to m4a in the store, beside what the ffmpeg command line needs for its last part.

    python -m tests.bench.bench_render [--lines 8] [--rounds 5] [--reference ffmpeg] [--json FILE]
    python -m tests.bench.bench_render --renders 500

Prints JSON. Ours is the whole way of a worker but for the database: speech, levels, limiter, AAC, container,
measurements, each line looked for and kept in a private S3 server, file and certificate stored there. The reference is
given finished reads as WAV files and joins them with the pauses, levels them by two passes of loudnorm and encodes AAC.
Every figure is the least of the rounds, ours and the reference in turn, so that a busy machine is busy for both.
Exits with 3 when the reference is missing (ours is still printed). With `--renders` it is memory that is measured:
so many different sessions one after another, and how much of it the process holds on the way.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import wave
from collections.abc import Callable, Coroutine
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any, Self, TypeVar, cast

import numpy as np

from common.clock import utc_now
from embedded.object_store import PrivateObjectStore
from embedded.processes import free_ports
from media import aac
from media.composer import compose
from media.hibari_speech import HibariSpeech
from media.line_audio import CEILING_DBTP, LEAD, PAUSE, REST, TAIL, TARGET_LUFS
from media.loudness import loudness, true_peak
from media.memory import give_back, share_one_heap
from media.rendering import Rendering, render
from media.samples import RATE, Samples, trim
from media.speech import DEFAULT_VOICE, FIRST_TAKE, SECOND_TAKE
from media.storage import IMMUTABLE, ObjectStorage, S3Storage
from media.stored_lines import RecentLines, StoredLines
from tests.support.media import settings

T = TypeVar("T")
MISSING_REFERENCE = 3


class Shelves:
    """A private S3 server, and renders that keep all they make there, each shelf apart from the others."""

    def __init__(self, speech: HibariSpeech) -> None:
        self._speech = speech
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory()
        self._server = PrivateObjectStore()
        asyncio.run(self._server.start(Path(self._folder.name), free_ports(1)[0]))
        asyncio.run(self._server.create_bucket("bench"))
        configured = settings("postgresql://nobody@127.0.0.1:1/x", self._server, aws_s3_bucket_name="bench")
        self._storage = S3Storage(configured)
        self._await(self._storage.__aenter__())
        return self

    def __exit__(self, *error: object) -> None:
        self._await(self._storage.__aexit__(*error))
        self._loop.call_soon_threadsafe(self._loop.stop)
        asyncio.run(self._server.stop())
        self._folder.cleanup()

    def render(self, lines: list[str], shelf: str, recent: RecentLines | None = None) -> Rendering:
        """From text to what a worker stores; what was spoken before on the same shelf is taken from there, unless
        the worker has it in ``recent``.
        """
        kept = _Shelf(self._storage, shelf)
        cache = StoredLines(cast(ObjectStorage, kept), utc_now, self._loop, recent or RecentLines())
        rendering = render(lines, DEFAULT_VOICE, self._speech, line_cache=cache)
        self._await(self._store(kept, rendering))
        return rendering

    async def _store(self, kept: _Shelf, rendering: Rendering) -> None:
        certificate = json.dumps(rendering.certificate(), indent=2).encode()
        await asyncio.gather(
            kept.put("session.m4a", rendering.m4a, content_type="audio/mp4", cache_control=IMMUTABLE),
            kept.put("session.json", certificate, content_type="application/json", cache_control="no-store"),
        )

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


@dataclass
class _Shelf:
    """A part of the store that knows nothing of the others."""

    storage: S3Storage
    name: str

    async def get_dated(self, key: str) -> tuple[bytes, datetime] | None:
        return await self.storage.get_dated(f"{self.name}/{key}")

    async def put(self, key: str, data: bytes, **kept: str) -> None:
        await self.storage.put(f"{self.name}/{key}", data, **kept)


def main() -> int:
    options = _options()
    share_one_heap()
    speech = HibariSpeech()
    speech.warm_up()
    give_back()
    with Shelves(speech) as shelves:
        if options.renders:
            return _print(_memory(shelves, options.renders, options.lines), options.json)
        return _speed(shelves, speech, options)


def _speed(shelves: Shelves, speech: HibariSpeech, options: argparse.Namespace) -> int:
    lines = compose("sleep better", "", "Sleep", options.lines, seed=1)
    shelves.render(lines[:1], "warm-up")
    reference = shutil.which(options.reference)
    figures, rendering = _compare(shelves, lines, speech, reference, options.rounds)
    figures["two processes over one"] = _two_processes(lines)
    report = {
        "machine": {"python": platform.python_version(), "cores": os.cpu_count()},
        "lines": len(lines),
        "audio seconds": rendering.duration_ms / 1000,
        "loudness LUFS": round(rendering.loudness_lufs, 2),
        "true peak dBTP": round(rendering.true_peak_dbtp, 2),
        "bytes": len(rendering.m4a),
        "reference": _version(reference) if reference else "missing",
        **figures,
        "peak memory MB": _peak_mb(),
    }
    _print(report, options.json)
    if reference is None:
        print(
            f"the reference is missing: {options.reference!r} is not installed, nothing was compared", file=sys.stderr
        )
        return MISSING_REFERENCE
    return 0


def _print(report: dict[str, Any], file: Path | None) -> int:
    text = json.dumps(report, indent=2)
    print(text)
    if file:
        file.write_text(text + "\n")
    return 0


def _memory(shelves: Shelves, renders: int, lines: int) -> dict[str, Any]:
    """MB held after every tenth of the renders, no two of which share a line; the slope leaves out the first fifth."""
    held, recent = [], RecentLines()
    for number in range(renders):
        shelves.render(compose(f"sleep better on night {number}", "", "Sleep", lines, seed=number), "memory", recent)
        held.append(_held_mb())
    settled = held[renders // 5 :]
    slope = np.polyfit(np.arange(len(settled)), settled, 1)[0]
    return {
        "renders": renders,
        "lines": lines,
        "MB on the way": [round(value) for value in held[:: max(renders // 10, 1)]],
        "peak memory MB": _peak_mb(),
        "MB more in 100 renders": round(float(slope) * 100, 2),
    }


def _held_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _peak_mb() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=8, help="affirmations in the session (1 to 24)")
    parser.add_argument("--rounds", type=int, default=5, help="times everything is measured")
    parser.add_argument("--reference", default="ffmpeg", help="command to compare with")
    parser.add_argument("--renders", type=int, help="measure memory over so many renders instead")
    parser.add_argument("--json", type=Path, help="write the report here too")
    return parser.parse_args()


def _compare(
    shelves: Shelves, lines: list[str], speech: HibariSpeech, reference: str | None, rounds: int
) -> tuple[dict[str, Any], Rendering]:
    recent = RecentLines()
    rendering = shelves.render(lines, "kept", recent)
    fresh = (f"fresh-{number}" for number in count())
    edits = (f"I rest in the quiet of evening number {number}." for number in range(rounds))
    ours: dict[str, Callable[[], object]] = {
        "full render": lambda: shelves.render(lines, next(fresh)),
        "one line edited": lambda: shelves.render([*lines[:-1], next(edits)], "kept", recent),
        "all lines kept": lambda: shelves.render(lines, "kept", recent),
        "all lines kept by another worker": lambda: shelves.render(lines, "kept"),
    }
    with tempfile.TemporaryDirectory() as folder:
        if reference:
            listing = _write_reads(Path(folder), lines, speech)
            ours["reference"] = lambda: _reference(reference, listing, Path(folder) / "reference.m4a")
        least = {name: float("inf") for name in ours}
        for _ in range(rounds):
            for name, work in ours.items():
                least[name] = min(least[name], _timed(work))
        figures = _figures(least, rendering.duration_ms / 1000)
        if reference:
            heard = aac.decode(Path(folder) / "reference.m4a")
            figures["reference result"] = {"LUFS": round(loudness(heard), 2), "dBTP": round(true_peak(heard), 2)}
    return figures, rendering


def _figures(least: dict[str, float], audio_seconds: float) -> dict[str, Any]:
    full = least["full render"]
    ratios = {
        "times real time": audio_seconds / full,
        "one line edited over full": least["one line edited"] / full,
        "all kept over full": least["all lines kept"] / full,
        "all kept by another worker over full": least["all lines kept by another worker"] / full,
    }
    if "reference" in least:
        ratios["full over reference"] = full / least["reference"]
    return {
        "seconds": {name: round(value, 4) for name, value in least.items()},
        "ratios": {name: round(value, 4) for name, value in ratios.items()},
    }


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _write_reads(folder: Path, lines: list[str], speech: HibariSpeech) -> Path:
    """The finished reads and the pauses as WAV files, and a list of them for the concat demuxer."""
    silences = {}
    for name, samples in (("lead", LEAD), ("pause", PAUSE), ("rest", REST), ("tail", TAIL)):
        silences[name] = _write_wav(folder / f"{name}.wav", np.zeros(samples, np.float32))
    order = [silences["lead"]]
    for index, line in enumerate(lines):
        for take, after in ((FIRST_TAKE, "pause"), (SECOND_TAKE, "rest")):
            read = trim(speech.read(line, DEFAULT_VOICE, take))
            order += [_write_wav(folder / f"{index}-{take.seed}.wav", read), silences[after]]
    listing = folder / "list.txt"
    listing.write_text("".join(f"file '{path.name}'\n" for path in (*order, silences["tail"])))
    return listing


def _write_wav(path: Path, samples: Samples) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def _reference(command: str, listing: Path, target: Path) -> None:
    aim = f"loudnorm=I={TARGET_LUFS}:TP={CEILING_DBTP}:LRA=7:dual_mono=true"
    source = [command, "-nostdin", "-hide_banner", "-y", "-f", "concat", "-safe", "0", "-i", str(listing)]
    first = _run([*source, "-af", f"{aim}:print_format=json", "-f", "null", "-"])
    found = json.loads(re.findall(r"\{[^{}]*\}", first)[-1])
    measured = ":".join(
        f"measured_{name}={found[key]}"
        for name, key in (("I", "input_i"), ("TP", "input_tp"), ("LRA", "input_lra"), ("thresh", "input_thresh"))
    )
    levels = f"{aim}:{measured}:offset={found['target_offset']}:linear=true"
    encoding = ["-ar", str(RATE), "-ac", "1", "-c:a", "aac", "-b:a", "64k", "-movflags", "+faststart", str(target)]
    _run([*source, "-af", levels, *encoding])


def _run(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stderr


def _version(command: str) -> str:
    shown = subprocess.run([command, "-version"], check=True, capture_output=True, text=True, timeout=30).stdout
    return shown.splitlines()[0]


def _two_processes(lines: list[str], sessions: int = 4) -> float:
    """Sessions a second of two processes over one, each process rendering whole sessions on one thread."""
    seconds = {}
    for processes in (1, 2):
        with ProcessPoolExecutor(processes, initializer=_prepare) as pool:
            list(pool.map(_render_whole, [lines[:1]] * processes * 2))
            began = time.perf_counter()
            list(pool.map(_render_whole, [lines] * sessions))
            seconds[processes] = time.perf_counter() - began
    return round(seconds[1] / seconds[2], 2)


_worker: list[HibariSpeech] = []


def _prepare() -> None:
    _worker.append(HibariSpeech())
    _worker[0].warm_up()


def _render_whole(lines: list[str]) -> int:
    return render(lines, DEFAULT_VOICE, _worker[0], threads=1).samples


if __name__ == "__main__":
    sys.exit(main())
