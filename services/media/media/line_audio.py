"""One line as sound: two reads, each levelled and encoded once, with what was measured after decoding them again.

This is the unit that is cached. A read begins at the same place inside an AAC frame wherever it stands, and is padded
with silence (under 22 ms) so that the pause after it ends at that place again: that is why lines can be laid end to
end in any order and the pauses between them are still exact to the sample.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass
from io import BytesIO

import numpy as np

from media import aac
from media.loudness import CELL, Cells, cells, integrated, level, true_peak
from media.samples import FRAME, RATE, Samples, decibels, silence, trim
from media.speech import FIRST_TAKE, SECOND_TAKE, Speech, Take

LEAD = RATE * 500 // 1000
PAUSE = RATE * 1500 // 1000
REST = RATE * 4000 // 1000
TAIL = RATE * 750 // 1000
"""Silence before the first read, between the reads of a line, after a line, and after the last line, in samples."""

START = LEAD % FRAME
"""Where a read begins inside its first frame."""

TARGET_LUFS = -20.0
CEILING_DBTP = -1.5

_RECIPE = 2  # to be raised whenever the same key would sound different
_MAGIC = b"ENTL\x01"
_CODEC_HEADROOM_DB = 1.0
_ENCODE_ATTEMPTS = 4
_READ_TOLERANCE_LU = 1.0
_CUT_WINDOW = RATE * 5 // 1000
_CUT_ABOVE_DBFS = -36.0


class BadRender(Exception):
    """Sound that must not be delivered or cached: what was checked, what was measured, what was expected."""

    def __init__(self, what: str, measured: object, expected: object) -> None:
        super().__init__(f"{what}: measured {measured}, expected {expected}")
        self.what, self.measured, self.expected = what, measured, expected


class DamagedLine(ValueError):
    """Bytes that are not a cached line, or no longer."""


@dataclass(frozen=True)
class Clip:
    """One read, encoded: heard for `spoken` samples from START on; energy and peak were measured on the result."""

    packets: aac.Packets
    spoken: int
    true_peak_dbtp: float
    energy: Cells

    @property
    def frames(self) -> int:
        return len(self.packets) - 1

    @property
    def size(self) -> int:
        """Bytes of sound and of what was measured on it."""
        return sum(map(len, self.packets)) + self.energy.nbytes


@dataclass(frozen=True)
class LineAudio:
    """Both reads of a line."""

    first: Clip
    second: Clip

    @property
    def size(self) -> int:
        return self.first.size + self.second.size

    def to_bytes(self) -> bytes:
        """A self-checking form for the cache."""
        clips = (self.first, self.second)
        head = json.dumps(
            [
                {"sizes": [len(p) for p in clip.packets], "spoken": clip.spoken, "peak": clip.true_peak_dbtp}
                for clip in clips
            ],
            separators=(",", ":"),
        ).encode()
        sound = b"".join(b"".join(clip.packets) + clip.energy.astype("<f4").tobytes() for clip in clips)
        body = _MAGIC + struct.pack(">I", len(head)) + head + sound
        return body + hashlib.sha256(body).digest()

    @classmethod
    def from_bytes(cls, data: bytes) -> LineAudio:
        """Reads `to_bytes` again. Raises DamagedLine."""
        body, digest = data[:-32], data[-32:]
        if not body.startswith(_MAGIC) or hashlib.sha256(body).digest() != digest:
            raise DamagedLine("not a cached line, or changed since it was written")
        position = len(_MAGIC) + 4
        end = position + struct.unpack_from(">I", body, len(_MAGIC))[0]
        clips, sound = [], BytesIO(body[end:])
        for fields in json.loads(body[position:end]):
            packets = tuple(map(sound.read, fields["sizes"]))
            energy = np.frombuffer(sound.read((len(packets) - 1) * FRAME // CELL * 4), "<f4").astype(np.float32)
            clips.append(Clip(packets, fields["spoken"], fields["peak"], energy))
        return cls(*clips)


def line_key(text: str, voice: str, speech: Speech) -> str:
    """sha256 (hex) of everything that shapes a line's sound; `text` is normalised."""
    shape = {
        "codec": aac.VOICE.identity,
        "engine": [speech.name, speech.version],
        "level": [TARGET_LUFS, CEILING_DBTP],
        "pauses": [START, PAUSE, REST],
        "recipe": _RECIPE,
        "takes": [FIRST_TAKE.identity, SECOND_TAKE.identity],
        "text": text,
        "voice": speech.voice(voice),
    }
    return hashlib.sha256(json.dumps(shape, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def silent_frames_after(clip: Clip, pause: int) -> int:
    """Whole silent frames between a clip and the next one, `pause` samples later."""
    return (clip.spoken + pause) // FRAME - clip.frames


def record(text: str, voice: str, speech: Speech, take: Take, pause: int) -> Clip:
    """Speaks, levels, encodes and measures one read that `pause` samples of silence will follow.

    Raises Unspeakable when the engine has nothing to say and BadRender when what it said cannot be delivered.
    """
    raw = speech.read(text, voice, take)
    _refuse_cut_end(raw)
    read = trim(raw)
    if read.size == 0:
        raise BadRender("speech", "silence", "sound")
    ceiling = CEILING_DBTP - _CODEC_HEADROOM_DB
    for _ in range(_ENCODE_ATTEMPTS):
        clip = _encode(level(read, TARGET_LUFS, ceiling).samples, pause)
        excess = clip.true_peak_dbtp - CEILING_DBTP
        if excess <= 0:
            break
        ceiling -= excess + 0.1
    _refuse_wrong_level(clip)
    return clip


def _encode(read: Samples, pause: int) -> Clip:
    spoken = len(read) + -(len(read) + pause) % FRAME
    placed = silence(-(-(START + spoken) // FRAME) * FRAME)
    placed[START : START + len(read)] = read
    packets = aac.encode(placed)
    heard = aac.decode_packets(packets)
    if len(heard) != len(placed):
        raise BadRender("samples of a decoded read", len(heard), len(placed))
    return Clip(packets, spoken, true_peak(heard), cells(heard))


def _refuse_cut_end(raw: Samples) -> None:
    """A read that is still sounding when it ends was cut off, by the engine or on the way."""
    last = raw[-_CUT_WINDOW:]
    remaining = decibels(float(np.sqrt(np.square(last).mean()))) if last.size else float("-inf")
    if remaining > _CUT_ABOVE_DBFS:
        raise BadRender("level of the last 5 ms of a read in dBFS", round(remaining, 1), f"<= {_CUT_ABOVE_DBFS}")


def _refuse_wrong_level(clip: Clip) -> None:
    if clip.true_peak_dbtp > CEILING_DBTP:
        raise BadRender("true peak of a read in dBTP", round(clip.true_peak_dbtp, 2), f"<= {CEILING_DBTP}")
    surround = np.zeros(RATE // CELL, np.float32)
    measured = integrated(np.concatenate([surround, clip.energy, surround]))
    if not abs(measured - TARGET_LUFS) <= _READ_TOLERANCE_LU:
        expected = f"{TARGET_LUFS} +- {_READ_TOLERANCE_LU}"
        raise BadRender("loudness of a read in LUFS", round(measured, 2), expected)
