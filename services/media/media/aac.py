"""AAC-LC packets at 48 kHz: pieces encoded on their own that can be laid end to end, and decoding to measure them.

A piece is encoded after 16 frames of what precedes it (silence, or the tail of a loop), because the encoder starves
the first loud frame when its bit reservoir is empty. `n` frames give `n + 1` packets: packet `i` carries the overlap
of frames `i - 1` and `i`. Between two pieces that begin and end in silence, every packet is the same silent one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from io import BytesIO
from pathlib import Path

import av
import numpy as np

from media import m4a
from media.samples import FRAME, RATE, Samples, silence

_PRE_ROLL = 16
_LOOP_PRE_ROLL = 4
_FRAMES_PER_CALL = 16
# Of the two coders this one is as good for speech at 64 kb/s, better for tones under -12 dBFS, and takes half the time.
# Noise substitution would make the decoded noise depend on what was decoded before, and a piece must sound the same
# wherever it stands.
_OPTIONS = {"aac_coder": "fast", "aac_pns": "0"}


class Undecodable(ValueError):
    """The bytes hold no sound that can be decoded; the message says why."""


@dataclass(frozen=True)
class Codec:
    """How sound is encoded. `identity` names everything that shapes the packets."""

    channels: int
    bitrate: int

    @property
    def layout(self) -> str:
        return "mono" if self.channels == 1 else "stereo"

    @property
    def identity(self) -> str:
        options = ",".join(f"{name}={value}" for name, value in _OPTIONS.items())
        return f"aac-lc/{RATE}/{self.channels}/{self.bitrate}/{options}/pyav-{av.__version__}"


VOICE = Codec(channels=1, bitrate=64_000)
BED = Codec(channels=2, bitrate=96_000)

Packets = tuple[bytes, ...]


def encode(samples: Samples, codec: Codec = VOICE) -> Packets:
    """Packets of a piece that silence surrounds: `n * 1024` samples, (n,) or (2, n), give `n + 1` packets."""
    channels = np.atleast_2d(samples)
    return tuple(_encode(np.pad(channels, ((0, 0), (_PRE_ROLL * FRAME, 0))), codec)[_PRE_ROLL:])


def encode_loop(samples: Samples, codec: Codec = BED) -> Packets:
    """Packets of one period of a sound without end: `n * 1024` samples give `n` packets to repeat as often as wanted.

    The encoder hears the end of the loop before its start and its start again after its end, so that even its
    quantisation errors pass the seam unbroken.
    """
    channels = np.atleast_2d(samples)
    frames = channels.shape[1] // FRAME
    if frames < _LOOP_PRE_ROLL:
        raise ValueError(f"a loop needs at least {_LOOP_PRE_ROLL} frames")
    tail, head = channels[:, -_LOOP_PRE_ROLL * FRAME :], channels[:, :FRAME]
    packets = _encode(np.concatenate([tail, channels, head], axis=1), codec)
    # Packet 0 of a period and packet 0 of the next carry the same overlap. The later one follows a settled encoder.
    period = packets[_LOOP_PRE_ROLL : _LOOP_PRE_ROLL + frames + 1]
    return (period[frames], *period[1:frames])


@cache
def silent_packet(codec: Codec = VOICE) -> bytes:
    """The packet between two silent frames."""
    return encode(np.zeros((codec.channels, 2 * FRAME), np.float32), codec)[1]


def join(packets: Sequence[bytes], codec: Codec = VOICE) -> bytes:
    """One m4a of packets laid end to end; it plays `(len(packets) - 1) * 1024` samples."""
    return m4a.wrap(packets, codec.channels, codec.bitrate)


def loop_file(period: Packets, repetitions: int, codec: Codec = BED) -> bytes:
    """An m4a of a period from `encode_loop`, `repetitions` times, that loops without a seam."""
    return join((*(period * repetitions), period[0]), codec)


def decode_packets(packets: Iterable[bytes], codec: Codec = VOICE) -> Samples:
    """What `n + 1` packets sound like: `n * 1024` samples, (n,) for one channel, (2, n) for two.

    Raises Undecodable.
    """
    decoder = av.CodecContext.create("aac", "r")
    decoder.extradata = m4a.decoder_configuration(codec.channels)
    decoded: list[Samples] = []
    try:
        for packet in packets:
            decoded.extend(_planes(frame) for frame in decoder.decode(av.Packet(packet)))
        decoded.extend(_planes(frame) for frame in decoder.decode(None))
    except av.FFmpegError as error:
        raise Undecodable(f"a packet cannot be decoded: {error}") from error
    sound = np.concatenate(decoded, axis=1)[:, FRAME:] if decoded else silence(0)[None]
    return sound[0] if codec.channels == 1 else sound


def decode(source: bytes | Path) -> Samples:
    """The samples a player would play from a file or its bytes, edit list applied: (n,) or (2, n) at its own rate.

    Raises Undecodable.
    """
    try:
        with av.open(BytesIO(source) if isinstance(source, bytes) else str(source), "r") as container:
            decoded = [_planes(frame) for frame in container.decode(audio=0)]
    except (av.FFmpegError, IndexError) as error:
        raise Undecodable(f"the file cannot be decoded: {error}") from error
    if not decoded:
        raise Undecodable("the file holds no sound")
    sound = np.concatenate(decoded, axis=1)
    return sound[0] if sound.shape[0] == 1 else sound


def _planes(frame: av.AudioFrame) -> Samples:
    return np.atleast_2d(frame.to_ndarray()).astype(np.float32, copy=False)


def _encode(channels: Samples, codec: Codec) -> list[bytes]:
    if channels.shape[0] != codec.channels or channels.shape[1] % FRAME:
        raise ValueError(f"{codec.channels} channel(s) of whole frames expected, shape {channels.shape} given")
    encoder = av.CodecContext.create("aac", "w")
    encoder.sample_rate, encoder.layout, encoder.format = RATE, codec.layout, "fltp"
    encoder.bit_rate, encoder.time_base = codec.bitrate, Fraction(1, RATE)
    encoder.options = dict(_OPTIONS)
    packets: list[bytes] = []
    step = _FRAMES_PER_CALL * FRAME
    for start in range(0, channels.shape[1], step):
        piece = np.ascontiguousarray(channels[:, start : start + step])
        frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout=codec.layout)
        frame.sample_rate, frame.pts = RATE, start
        packets.extend(bytes(packet) for packet in encoder.encode(frame))
    packets.extend(bytes(packet) for packet in encoder.encode(None))
    return packets
