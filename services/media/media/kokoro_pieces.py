"""What the kokoro engine is made of, as `make voices` lays it down. Loads nothing, so that settings can look for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

MODEL = "kokoro.onnx"
SPEAKERS: Mapping[str, str] = {
    "nova": "af_heart",
    "shimmer": "bf_emma",
    "alloy": "af_bella",
    "onyx": "am_michael",
    "echo": "bm_george",
    "fable": "bf_isabella",
}
"""For each of our voices one of the model's; those that begin with b are British and are pronounced so."""


def missing_pieces(folder: Path) -> list[str]:
    """The files this engine needs that are not in ``folder``."""
    needed = [MODEL, *(f"{speaker}.bin" for speaker in SPEAKERS.values())]
    return [name for name in needed if not (folder / name).is_file()]
