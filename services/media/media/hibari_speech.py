"""The engine that needs no network: hibari."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hibari
import numpy as np
import numpy.typing as npt
import onnxruntime
import soxr
from hibari import dsp

from media.samples import RATE, SENTENCE_PAUSE, Samples, silence, trim
from media.speech import DEFAULT_VOICE, FIRST_TAKE, Take, Unspeakable, closed


@dataclass(frozen=True)
class Timbre:
    """A voice derived from the model's one speaker.

    `tract` scales the resonances (above 1: a smaller, brighter speaker), then come pitch in semitones and factors for
    melody and pace. Beyond 0.87 to 1.08 and -4 to +2 semitones the speech loses its naturalness.
    """

    tract: float = 1.0
    pitch_semitones: float = 0.0
    melody: float = 1.0
    pace: float = 1.0


TIMBRES: Mapping[str, Timbre] = {
    "nova": Timbre(),
    "shimmer": Timbre(tract=0.98, pitch_semitones=-0.8, melody=0.8, pace=0.94),
    "alloy": Timbre(tract=0.955, pitch_semitones=-1.4, melody=0.95),
    "echo": Timbre(tract=0.91, pitch_semitones=-2.0, melody=1.15, pace=0.98),
    "onyx": Timbre(tract=0.87, pitch_semitones=-3.0, melody=1.0, pace=0.97),
    "fable": Timbre(tract=1.06, pitch_semitones=1.5, melody=1.1, pace=1.02),
}

_VOICED_ABOVE_HZ = 40.0


def _frugal(model_path: str) -> onnxruntime.InferenceSession:
    """The model on one core, without a plan of memory kept for every length of sentence there ever was."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_mem_pattern = False
    options.enable_cpu_mem_arena = False
    return onnxruntime.InferenceSession(model_path, options, providers=["CPUExecutionProvider"])


class HibariSpeech:
    """hibari-tts: one bundled American English model; 24 kHz, the same samples for the same call on the same CPU."""

    name = "hibari"

    def __init__(self) -> None:
        self._loading = threading.Lock()
        self._model: Any = None
        model = hashlib.sha256((Path(hibari.__file__).parent / "assets" / "hibari.onnx").read_bytes()).hexdigest()
        voices = hashlib.sha256(repr(sorted(TIMBRES.items())).encode()).hexdigest()
        self.version = f"{hibari.__version__}+model.{model[:12]}+voices.{voices[:8]}"

    def voice(self, requested: str) -> str:
        known = requested.strip().lower()
        return known if known in TIMBRES else DEFAULT_VOICE

    def warm_up(self) -> None:
        self.read("Ready.", DEFAULT_VOICE, FIRST_TAKE)

    def read(self, text: str, voice: str, take: Take) -> Samples:
        model, timbre = self._loaded(), TIMBRES[self.voice(voice)]
        rng = np.random.default_rng(take.seed)
        sentences: list[Samples] = []
        for phonemes in model.phonemize(closed(text)):
            ids = model.ids(phonemes)
            if len(ids) > 2:
                sentences.append(self._sentence(model, ids, timbre, take, rng))
        audible = [sentence for sentence in sentences if trim(sentence).size]
        if not audible:
            raise Unspeakable("This line has no words the voice can say.")
        if len(audible) == 1:
            return audible[0]
        # The model puts most of a second of silence around every sentence; a line is one thought.
        parts = [part for sentence in audible for part in (trim(sentence), silence(SENTENCE_PAUSE))]
        return np.concatenate([*parts, silence(SENTENCE_PAUSE)])

    def _loaded(self) -> Any:
        with self._loading:
            if self._model is None:
                model = hibari.Hibari()
                model.sess = _frugal(model.model_path)
                model("Ready.")  # loads the pronunciation lexicons, which are not safe to load twice at once
                self._model = model
            return self._model

    def _sentence(self, model: Any, ids: list[int], timbre: Timbre, take: Take, rng: np.random.Generator) -> Samples:
        inputs = {
            "ids": np.asarray([ids], np.int64),
            "speed": np.asarray([take.speed * timbre.pace], np.float32),
        }
        harmonic, angle, noise, residue, residue_phase, pitch = (output[0] for output in model.sess.run(None, inputs))
        pitch = _reshape_pitch(pitch, take.pitch_semitones + timbre.pitch_semitones, take.melody * timbre.melody)
        if timbre.tract != 1.0:
            harmonic, angle, noise, residue = (
                _stretch_spectrum(part, timbre.tract) for part in (harmonic, angle, noise, residue)
            )
        samples = dsp.synth(harmonic, angle, noise, residue, residue_phase, pitch, rng)
        return np.asarray(soxr.resample(samples, dsp.SR, RATE, quality="HQ"), np.float32)


def _reshape_pitch(pitch: Samples, semitones: float, melody: float) -> Samples:
    """Pitch per frame in Hz, moved by `semitones`, its excursions from the mean scaled by `melody` (log domain)."""
    voiced = pitch > _VOICED_ABOVE_HZ
    if not voiced.any():
        return pitch
    height = np.log(pitch[voiced])
    mean = height.mean()
    shaped = pitch.copy()
    shaped[voiced] = np.exp(mean + (height - mean) * melody) * 2 ** (semitones / 12)
    return shaped


def _stretch_spectrum(spectrum: Samples, tract: float) -> Samples:
    """A spectrum per frame, shape (bins, frames), with its resonances moved up by the factor `tract`."""
    bins = spectrum.shape[0]
    position: npt.NDArray[np.float64] = np.minimum(np.arange(bins) / tract, bins - 1)
    below = np.minimum(position.astype(np.int64), bins - 2)
    share = (position - below).astype(np.float32)[:, None]
    stretched: Samples = spectrum[below] * (1 - share) + spectrum[below + 1] * share
    return stretched
