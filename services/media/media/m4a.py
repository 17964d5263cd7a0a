"""The m4a container (ISO 14496-12 and -14): AAC packets in, a file that starts at once and ends on the promised sample.

The index comes before the sound, the clock of the movie is the sample rate (a coarser one rounds the edit list, and
players then cut or add samples), and nothing in the file depends on when or where it was written.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import accumulate

from media.samples import FRAME, RATE

_PACKETS_PER_CHUNK = 47  # about a second
_IDENTITY = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_UNDETERMINED_LANGUAGE = 0x55C4
_SAMPLE_RATE_INDEX = 3  # 48 kHz in ISO 14496-3, table 1.16
_AAC_LC = 2


class DamagedContainer(ValueError):
    """The bytes are not an m4a this module wrote; the message says what is wrong."""


@dataclass(frozen=True)
class Contents:
    """What a container says about itself: played samples, packets, and whether its index comes first."""

    samples: int
    priming: int
    packets: tuple[bytes, ...]
    index_first: bool


def wrap(packets: Sequence[bytes], channels: int, bitrate: int) -> bytes:
    """An m4a of AAC-LC packets at 48 kHz that plays exactly `(len(packets) - 1) * 1024` samples.

    The first packet only primes the decoder: the edit list skips its 1024 samples.
    """
    if len(packets) < 2:
        raise ValueError("a file needs the priming packet and at least one more")
    file_type = _box("ftyp", b"M4A ", struct.pack(">I", 512), b"M4A isomiso2")
    sizes = list(map(len, packets))
    # The offsets of the chunks depend on the length of the index that holds them, never the other way round.
    start = len(file_type) + len(_index(sizes, channels, bitrate, 0)) + 8
    return b"".join((file_type, _index(sizes, channels, bitrate, start), _box("mdat", *packets)))


def unwrap(data: bytes) -> Contents:
    """Reads back what `wrap` wrote. Raises DamagedContainer."""
    try:
        top = list(_boxes(data))
        names = [name for name, _ in top]
        moov = dict(top)["moov"]
        trak = _path(moov, "trak")
        duration, media_time = struct.unpack_from(">Ii", _path(trak, "edts", "elst"), 8)
        table = _path(trak, "mdia", "minf", "stbl")
        count = struct.unpack_from(">I", _path(table, "stsz"), 8)[0]
        sizes = struct.unpack_from(f">{count}I", _path(table, "stsz"), 12)
        body = dict(top)["mdat"]
    except (KeyError, struct.error) as error:
        raise DamagedContainer(f"a box is missing or cut off: {error}") from error
    if sum(sizes) != len(body):
        raise DamagedContainer(f"the index describes {sum(sizes)} bytes of sound, the file holds {len(body)}")
    return Contents(
        duration, media_time, tuple(map(BytesIO(body).read, sizes)), names.index("moov") < names.index("mdat")
    )


def decoder_configuration(channels: int) -> bytes:
    """AudioSpecificConfig of AAC-LC at 48 kHz (2 bytes)."""
    return struct.pack(">H", _AAC_LC << 11 | _SAMPLE_RATE_INDEX << 7 | channels << 3)


def _index(sizes: Sequence[int], channels: int, bitrate: int, sound_starts_at: int) -> bytes:
    played, stored = (len(sizes) - 1) * FRAME, len(sizes) * FRAME
    movie_header = struct.pack(">5I", 0, 0, RATE, played, 0x10000) + struct.pack(">HHII", 0x100, 0, 0, 0) + _IDENTITY
    track_header = struct.pack(">5I", 0, 0, 1, 0, played) + struct.pack(">II4H", 0, 0, 0, 1, 0x100, 0) + _IDENTITY
    media = _box(
        "mdia",
        _full("mdhd", 0, struct.pack(">4IHH", 0, 0, RATE, stored, _UNDETERMINED_LANGUAGE, 0)),
        _full("hdlr", 0, struct.pack(">I4s3I", 0, b"soun", 0, 0, 0), b"SoundHandler\0"),
        _box(
            "minf",
            _full("smhd", 0, bytes(4)),
            _box("dinf", _full("dref", 0, struct.pack(">I", 1), _full("url ", 1))),
            _sample_table(sizes, channels, bitrate, sound_starts_at),
        ),
    )
    return _box(
        "moov",
        _full("mvhd", 0, movie_header, bytes(24), struct.pack(">I", 2)),
        _box(
            "trak",
            _full("tkhd", 3, track_header, bytes(8)),
            _box("edts", _full("elst", 0, struct.pack(">IIiHH", 1, played, FRAME, 1, 0))),
            media,
        ),
    )


def _sample_table(sizes: Sequence[int], channels: int, bitrate: int, sound_starts_at: int) -> bytes:
    count = len(sizes)
    offsets = list(accumulate(sizes[:-1], initial=sound_starts_at))[::_PACKETS_PER_CHUNK]
    layout = [(1, min(count, _PACKETS_PER_CHUNK), 1)]
    remainder = count % _PACKETS_PER_CHUNK
    if count > _PACKETS_PER_CHUNK and remainder:
        layout.append((len(offsets), remainder, 1))
    # The roll group at the end tells players that seek to decode one packet ahead of where they want to be heard.
    entry = struct.pack(">6xH8xHHI", 1, channels, 16, 0) + struct.pack(">I", RATE << 16)
    return _box(
        "stbl",
        _full("stsd", 0, struct.pack(">I", 1), _box("mp4a", entry, _descriptor(channels, bitrate, max(sizes)))),
        _full("stts", 0, struct.pack(">3I", 1, count, FRAME)),
        _full("stsc", 0, struct.pack(">I", len(layout)), *(struct.pack(">3I", *row) for row in layout)),
        _full("stsz", 0, struct.pack(">II", 0, count), struct.pack(f">{count}I", *sizes)),
        _full("stco", 0, struct.pack(">I", len(offsets)), struct.pack(f">{len(offsets)}I", *offsets)),
        _full("sgpd", 1 << 24, struct.pack(">4sIIh", b"roll", 2, 1, -1)),
        _full("sbgp", 0, struct.pack(">4s3I", b"roll", 1, count, 1)),
    )


def _descriptor(channels: int, bitrate: int, largest: int) -> bytes:
    """The elementary stream descriptor (ISO 14496-1): object type AAC, its rates, and the decoder's configuration."""
    configuration = _tag(5, decoder_configuration(channels))
    decoder = struct.pack(">BB", 0x40, 0x15) + largest.to_bytes(3, "big") + struct.pack(">II", bitrate, bitrate)
    return _full("esds", 0, _tag(3, struct.pack(">HB", 1, 0), _tag(4, decoder, configuration), _tag(6, b"\x02")))


def _tag(number: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">BB", number, len(body)) + body


def _box(name: str, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", len(body) + 8, name.encode("ascii")) + body


def _full(name: str, version_and_flags: int, *parts: bytes) -> bytes:
    return _box(name, struct.pack(">I", version_and_flags), *parts)


def _boxes(data: bytes) -> Iterator[tuple[str, bytes]]:
    position = 0
    while position < len(data):
        size, name = struct.unpack_from(">I4s", data, position)
        if size < 8 or position + size > len(data):
            raise DamagedContainer(f"box {name!r} claims {size} bytes, {len(data) - position} are there")
        yield name.decode("latin-1"), data[position + 8 : position + size]
        position += size


def _path(data: bytes, *names: str) -> bytes:
    for name in names:
        data = dict(_boxes(data))[name]
    return data
