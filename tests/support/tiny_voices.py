"""What `make voices` fills, small: a model that hums, and speakers that are louder one after the other."""

import shutil
from pathlib import Path

import numpy as np

from media.kokoro_pieces import MODEL, SPEAKERS

_TINY = Path(__file__).with_name("tiny_kokoro.onnx")


def fill_voices(folder: Path) -> None:
    """Each speaker is louder than the one before, and each of its style rows louder than the last."""
    shutil.copy(_TINY, folder / MODEL)
    for number, speaker in enumerate(sorted(set(SPEAKERS.values())), 1):
        rows = np.linspace(0.5, 0.9, 510) * (0.5 + 0.1 * number)
        np.repeat(rows, 256).astype("<f4").tofile(folder / f"{speaker}.bin")
