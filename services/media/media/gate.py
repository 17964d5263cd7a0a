"""What a joined file must be, whoever joined it: sound where the timeline says so, digital silence everywhere else.

It is judged by the packets read back from the file. Each read was measured on what its packets decode to when it was
encoded; here they must stand in their places, with nothing around them but the packet that decodes to zeros.
"""

from __future__ import annotations

from collections.abc import Sequence

from media.aac import silent_packet
from media.line_audio import LEAD, PAUSE, REST, START, TAIL, BadRender
from media.samples import FRAME, RATE, milliseconds

TAIL_FRAMES = -(-(START + TAIL) // FRAME)
ENDING = TAIL_FRAMES * FRAME - START
"""Silence after the last line's rest, in samples: a file is a whole number of frames."""

_ROUNDED_MS = 1
_LEAST_SOUND = 0.5  # of a read's packets; pauses between its sentences may be silent

Span = tuple[int, int]
"""Where a read begins and ends, in whole milliseconds of the file."""


def require_pattern(spans: Sequence[Span], samples: int) -> None:
    """Raises BadRender unless lead, pauses and tail are as long as promised in a file of ``samples``."""
    edges = [0, *(edge for span in spans for edge in span), round(milliseconds(samples))]
    silences = [after - before for before, after in zip(edges[::2], edges[1::2], strict=True)]
    for place, measured in enumerate(silences):
        expected = round(milliseconds(_silence(place, len(spans))))
        if abs(measured - expected) > _ROUNDED_MS:
            raise BadRender(f"silence {place} in ms", measured, expected)


def require_sound_in_place(packets: Sequence[bytes], spans: Sequence[Span]) -> None:
    """Raises BadRender unless every read is there, and nothing is heard between, before and after them."""
    silence = silent_packet()
    silent = [packet == silence for packet in packets]
    heard_until = 0
    for number, (start_ms, end_ms) in enumerate(spans, 1):
        first, last = _samples(start_ms) // FRAME, -(-_samples(end_ms) // FRAME)
        _require_silence(silent, heard_until, first, f"before read {number}")
        within = silent[first : last + 1]
        if within.count(False) < _LEAST_SOUND * (last + 1 - first):
            raise BadRender(f"packets with sound in read {number}", within.count(False), f"most of {last + 1 - first}")
        heard_until = last + 1
    _require_silence(silent, heard_until, len(silent), "after the last read")


def _require_silence(silent: Sequence[bool], first: int, end: int, where: str) -> None:
    sounding = silent[first:end].count(False)
    if sounding:
        raise BadRender(f"packets with sound {where}", sounding, 0)


def _silence(place: int, reads: int) -> int:
    if place == 0:
        return LEAD
    if place == reads:
        return REST + ENDING
    return PAUSE if place % 2 else REST


def _samples(ms: int) -> int:
    return ms * RATE // 1000
