"""Speech for tests that are about jobs, not sound: a short hum for every read, at once, and troubles on request."""

import threading
from dataclasses import dataclass, field

import numpy as np

from media.samples import RATE, Samples, fade_edges, silence
from media.speech import Take, Unspeakable

_SECONDS = 0.7


def _open_gate() -> threading.Event:
    gate = threading.Event()
    gate.set()
    return gate


@dataclass
class ToneSpeech:
    """Hums; its pitch follows the take. While ``gate`` is closed every read waits, and ``begun`` says one does.

    Lines with ``cut_on`` end in full sound, which no check lets pass; lines with ``refuses`` cannot be said.
    """

    name: str = "tone"
    version: str = "1"
    cut_on: str = "\0"
    refuses: str = "\0"
    gate: threading.Event = field(default_factory=_open_gate)
    begun: threading.Event = field(default_factory=threading.Event)
    reads: int = 0

    def voice(self, requested: str) -> str:
        return "tone"

    def warm_up(self) -> None:
        """Nothing to load."""

    def read(self, text: str, voice: str, take: Take) -> Samples:
        self.begun.set()
        self.gate.wait(timeout=60)
        self.reads += 1
        if self.refuses in text:
            raise Unspeakable("This line has no words the voice can say.")
        hertz = 180 * 2 ** (take.pitch_semitones / 12)
        time = np.arange(round(RATE * _SECONDS / take.speed)) / RATE
        wave = np.sum([np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 12)], axis=0)
        hum = fade_edges((0.08 * wave).astype(np.float32), RATE // 50)
        quiet = silence(RATE // 5)
        return (
            np.concatenate([quiet, hum[: -RATE // 10]]) if self.cut_on in text else np.concatenate([quiet, hum, quiet])
        )
