"""Audio files as the prototype made them, and what went wrong with them."""

import io
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import av
import numpy as np

from embedded.object_store import PrivateObjectStore
from tests.support.legacy_files import execute

RATE = 48_000


def words(seed: int, seconds: float = 3.0) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Noise in syllables after half a second of silence: nothing of it is one tone."""
    count = int(RATE * seconds)
    noise = np.random.default_rng(seed).normal(0, 0.1, count).astype(np.float32)
    noise *= np.sin(np.arange(count) * 2 * np.pi * 3 / RATE).astype(np.float32) ** 2
    noise[: RATE // 2] = 0
    return noise


def beep(seconds: float = 1.5) -> np.ndarray[Any, np.dtype[np.float32]]:
    return (0.2 * np.sin(np.arange(int(RATE * seconds)) * 2 * np.pi * 440 / RATE)).astype(np.float32)


def encoded(samples: np.ndarray[Any, np.dtype[np.float32]], ending: str) -> bytes:
    held = io.BytesIO()
    with av.open(held, "w", format={"m4a": "ipod", "mp3": "mp3"}[ending]) as container:
        stream = cast(av.AudioStream, container.add_stream({"m4a": "aac", "mp3": "libmp3lame"}[ending], rate=RATE))
        stream.layout = "mono"
        for start in range(0, len(samples), 1024):
            frame = av.AudioFrame.from_ndarray(samples[start : start + 1024][None], format="fltp", layout="mono")
            frame.rate, frame.pts = RATE, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return held.getvalue()


async def store_audio(file: Path, storage: Path, store: PrivateObjectStore, bucket: str) -> dict[str, str]:
    """Gives the first sessions of a filled file audio in every shape; what becomes of each, by what their row says."""
    merged = storage / "merged"
    merged.mkdir(parents=True, exist_ok=True)
    mp3, m4a = encoded(words(1), "mp3"), encoded(words(2), "m4a")
    address = f"https://{bucket}.s3.us-east-2.amazonaws.com/audio/affirmationMerged/there.m4a"
    files = {
        "windows.mp3": mp3, "a b.mp3": mp3, "unc.mp3": mp3, "relative.m4a": m4a, "unnamed.m4a": m4a,
        "beep.mp3": encoded(np.concatenate([words(3), beep(), words(4)]), "mp3"),
        "text.mp3": b"not audio at all", "silent.m4a": encoded(np.zeros(RATE, np.float32), "m4a"),
    }  # fmt: skip
    for name, data in files.items():
        (merged / name).write_bytes(data)
    async with store.client() as s3:
        await s3.put_object(Bucket=bucket, Key="audio/affirmationMerged/there.m4a", Body=m4a)
    shapes = {
        "C:\\Users\\Jo Doe\\api\\storage\\merged\\windows.mp3": "brought along, stays an mp3",
        "file:///home/jo/storage/merged/a%20b.mp3": "brought along",
        "\\\\server\\share\\unc.mp3": "brought along",
        "storage/merged/relative.m4a": "brought along",
        "/somewhere/else/renamed.m4a": "brought along, found by the hash in its name",
        address: "copied from S3",
        "/storage/merged/beep.mp3": "holds a fallback beep: rendered anew",
        "/storage/merged/text.mp3": "cannot be played: rendered anew",
        "/storage/merged/silent.m4a": "silent: rendered anew",
        "C:\\Users\\Jo Doe\\gone.mp3": "missing: rendered anew",
    }
    with closing(sqlite3.connect(file)) as database:
        merged_ones = "SELECT rowid FROM AudioAsset WHERE kind = 'affirmationMerged' ORDER BY rowid LIMIT ?"
        assets = [row[0] for row in database.execute(merged_ones, (len(shapes),)).fetchall()]
    for asset, url in zip(assets, shapes, strict=True):
        execute(file, "UPDATE AudioAsset SET url = ? WHERE rowid = ?", (url, asset))
    unnamed = assets[list(shapes).index("/somewhere/else/renamed.m4a")]
    execute(file, "UPDATE AudioAsset SET hash = 'unnamed' WHERE rowid = ?", (unnamed,))
    return {f"`{url}`": fate for url, fate in shapes.items()}
