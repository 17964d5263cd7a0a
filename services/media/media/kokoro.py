"""Kokoro-82M on this machine: real speakers, offline, some forty times slower than hibari.

The model is not part of the package: `make voices` fetches it. Its alphabet is hibari's, whose rules turn text into
phonemes here too.
"""

from __future__ import annotations

import hashlib
import json
import threading
from functools import cached_property
from pathlib import Path
from typing import Any

import hibari
import numpy as np
import soxr
from hibari.g2p import G2P

from media.kokoro_pieces import MODEL, SPEAKERS
from media.samples import RATE, SENTENCE_PAUSE, Samples, silence, trim
from media.speech import DEFAULT_VOICE, FIRST_TAKE, Take, Unspeakable, closed

MODEL_RATE = 24_000
_STYLES, _STYLE_SIZE = 510, 256
_OTHER_STYLE = 20
"""How many rows further a second read takes its style: the rows are for texts of that many phonemes, and differ."""


class KokoroSpeech:
    """The same samples for the same call on the same kind of processor. ``folder`` is what `make voices` filled."""

    name = "kokoro"

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self._folder = folder
        self._threads = threads
        self._loading = threading.Lock()
        self._session: Any = None
        self._styles = {voice: self._style_of(speaker) for voice, speaker in SPEAKERS.items()}
        self._vocabulary: dict[str, int] = json.loads(
            (Path(hibari.__file__).parent / "assets" / "vocab.json").read_text(encoding="utf-8")
        )
        self._pronunciations: dict[bool, Any] = {}

    @cached_property
    def version(self) -> str:
        """Read from the files when a line is first spoken: a process that renders nothing need not hold the model."""
        digest = hashlib.sha256((self._folder / MODEL).read_bytes())
        for speaker in sorted(SPEAKERS.values()):
            digest.update((self._folder / f"{speaker}.bin").read_bytes())
        digest.update(repr(sorted(SPEAKERS.items())).encode())
        return f"82M+{digest.hexdigest()[:12]}+g2p.{hibari.__version__}"

    def voice(self, requested: str) -> str:
        known = requested.strip().lower()
        return known if known in SPEAKERS else DEFAULT_VOICE

    def warm_up(self) -> None:
        for voice in ("nova", "shimmer"):  # one of either pronunciation
            self.read("Ready.", voice, FIRST_TAKE)

    def read(self, text: str, voice: str, take: Take) -> Samples:
        voice = self.voice(voice)
        session, pronounced = self._loaded(british=SPEAKERS[voice].startswith("b"))
        heard = []
        for phonemes in pronounced.phonemize(closed(text)):
            ids = [0, *(self._vocabulary[one] for one in phonemes if one in self._vocabulary), 0]
            if len(ids) > 2:
                heard.append(trim(self._sentence(session, ids, voice, take)))
        audible = [sentence for sentence in heard if sentence.size]
        if not audible:
            raise Unspeakable("This line has no words the voice can say.")
        return np.concatenate([part for one in audible for part in (one, silence(SENTENCE_PAUSE))])

    def _sentence(self, session: Any, ids: list[int], voice: str, take: Take) -> Samples:
        row = len(ids) - 2
        if take != FIRST_TAKE:
            row = row + _OTHER_STYLE if row + _OTHER_STYLE < _STYLES else row - _OTHER_STYLE
        inputs = {
            "tokens": np.asarray([ids], np.int64),
            "style": self._styles[voice][row],
            "speed": np.asarray([take.speed], np.float32),
        }
        (audio,) = session.run(None, inputs)
        return np.asarray(soxr.resample(audio, MODEL_RATE, RATE, quality="HQ"), np.float32)

    def _style_of(self, speaker: str) -> Samples:
        styles = np.fromfile(self._folder / f"{speaker}.bin", "<f4")
        return styles.reshape(_STYLES, 1, _STYLE_SIZE)

    def _loaded(self, british: bool) -> tuple[Any, Any]:
        """The model, and who turns text into phonemes. Neither may be loaded twice at once."""
        with self._loading:
            if self._session is None:
                self._session = self._opened()
            if british not in self._pronunciations:
                reader = hibari.Hibari(g2p=G2P(british=british))
                reader.phonemize("Ready.")
                self._pronunciations[british] = reader
            return self._session, self._pronunciations[british]

    def _opened(self) -> Any:
        import onnxruntime  # where another engine speaks it is not needed

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 3
        path = str(self._folder / MODEL)
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
