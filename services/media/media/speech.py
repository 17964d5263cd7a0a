"""Text to speech: what an engine must offer. Loads none, so that whoever only names a voice need not wait for one.

Every read of a line is shaped by a `Take`. The two takes a listener hears differ in pace, pitch and melody: a seed
alone changes nothing that can be heard.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from media.samples import Samples


class Unspeakable(ValueError):
    """Text that yields no speech; the message says why and is fit for the person who wrote it.

    `line` is the index of the line it was found in, once that is known.
    """

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


class SpeechUnavailable(Exception):
    """The engine cannot be had now; a later attempt may succeed unless this is ``final``."""

    final = False


@dataclass(frozen=True)
class Take:
    """How one read is spoken: pace (1.0 is the engine's own), pitch in semitones, melody (1.0 as predicted), seed."""

    speed: float
    pitch_semitones: float
    melody: float
    seed: int

    @property
    def identity(self) -> str:
        return f"{self.speed:g}/{self.pitch_semitones:g}/{self.melody:g}/{self.seed}"


FIRST_TAKE = Take(speed=0.9, pitch_semitones=0.0, melody=1.0, seed=1)
SECOND_TAKE = Take(speed=0.9 * 0.96, pitch_semitones=-0.6, melody=1.15, seed=2)


class Speech(Protocol):
    """An engine. Implementations may be called from several threads at once."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str:
        """Changes whenever the same call would sound different: software, model, table of voices."""

    def voice(self, requested: str) -> str:
        """The engine's voice for an id from outside; ids it does not know give its default."""

    def read(self, text: str, voice: str, take: Take) -> Samples:
        """One channel of speech at 48 kHz, shape (n,), with as much silence around it as the engine makes.

        Raises Unspeakable and SpeechUnavailable.
        """

    def warm_up(self) -> None:
        """Loads what the first call would load."""


DEFAULT_VOICE = "nova"


def closed(text: str) -> str:
    """A full stop makes the melody of the last word fall; without one it hangs."""
    return f"{text}." if text[-1:].isalnum() else text
