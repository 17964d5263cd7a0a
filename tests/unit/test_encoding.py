"""AAC packets and their container: exact lengths, pieces that do not mind where they stand, loops without a seam."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media import aac, m4a
from media.samples import FRAME, RATE, Samples, fade_edges, silence


def hum(frames: int, hertz: float = 220.0, level: float = 0.1) -> Samples:
    time = np.arange(frames * FRAME) / RATE
    voice = np.sum([np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 12)], axis=0)
    return fade_edges((level * voice).astype(np.float32), 2000)


def rms(samples: Samples) -> float:
    return float(np.sqrt(np.square(samples, dtype=np.float64).mean()))


@settings(max_examples=12, deadline=None)
@given(frames=st.integers(2, 40), channels=st.sampled_from([1, 2]))
def test_a_piece_of_n_frames_is_n_plus_one_packets_and_decodes_to_n_frames(frames: int, channels: int) -> None:
    codec = aac.VOICE if channels == 1 else aac.BED
    piece = hum(frames) if channels == 1 else np.stack([hum(frames), hum(frames, 330)])
    packets = aac.encode(piece, codec)
    assert len(packets) == frames + 1
    assert aac.decode_packets(packets, codec).shape == piece.shape
    assert aac.decode(aac.join(packets, codec)).shape == piece.shape


def test_a_piece_sounds_like_what_was_encoded_from_its_first_loud_sample_on() -> None:
    piece = hum(60)
    error = aac.decode_packets(aac.encode(piece)) - piece
    assert rms(piece) / rms(error) > 10, "signal to noise below 20 dB"
    assert rms(error[: 4 * FRAME]) < 2 * rms(error[20 * FRAME : 40 * FRAME]), "the first frames were starved"


def test_a_piece_sounds_the_same_wherever_it_stands() -> None:
    piece, other = aac.encode(hum(30)), aac.encode(hum(17, 330.0))
    quiet = (aac.silent_packet(),) * 20
    heard = aac.decode(aac.join((*quiet, *other, *quiet, *piece, *quiet)))
    start = (len(quiet) * 2 + len(other)) * FRAME
    assert np.array_equal(heard[start : start + 30 * FRAME], aac.decode_packets(piece))
    assert np.abs(heard[start - 19 * FRAME : start - FRAME]).max() == 0, "silence between pieces"


def test_the_file_says_what_it_is_and_is_played_from_its_first_byte() -> None:
    data = aac.join(aac.encode(hum(50)))
    names = [name for name, _ in m4a._boxes(data)]
    assert names == ["ftyp", "moov", "mdat"]
    with av.open(BytesIO(data)) as container:
        stream = container.streams.audio[0]
        assert (stream.codec_context.name, stream.profile, stream.sample_rate) == ("aac", "LC", RATE)
        assert stream.channels == 1
        assert stream.duration == 50 * FRAME
        assert stream.time_base is not None
        assert stream.time_base.denominator == RATE


def test_the_same_sound_is_the_same_file_and_a_file_on_disk_decodes_like_its_bytes(tmp_path: Path) -> None:
    first, second = (aac.join(aac.encode(hum(12))) for _ in range(2))
    assert first == second
    path = tmp_path / "hum.m4a"
    path.write_bytes(first)
    assert np.array_equal(aac.decode(path), aac.decode(first))


@settings(max_examples=25, deadline=None)
@given(packets=st.lists(st.binary(min_size=1, max_size=40), min_size=2, max_size=200))
def test_what_is_wrapped_can_be_unwrapped(packets: list[bytes]) -> None:
    contents = m4a.unwrap(m4a.wrap(packets, channels=1, bitrate=64_000))
    assert contents.packets == tuple(packets)
    assert (contents.samples, contents.priming, contents.index_first) == ((len(packets) - 1) * FRAME, FRAME, True)


@settings(max_examples=30, deadline=None)
@given(cut=st.floats(0, 0.999))
def test_a_file_that_was_cut_off_anywhere_is_noticed(cut: float) -> None:
    data = m4a.wrap([b"packet"] * 60, channels=1, bitrate=64_000)
    with pytest.raises(m4a.DamagedContainer):
        m4a.unwrap(data[: int(len(data) * cut)])


def test_bytes_that_are_no_sound_are_named_as_such() -> None:
    with pytest.raises(aac.Undecodable):
        aac.decode(b"no sound in here")
    with pytest.raises(ValueError, match="whole frames"):
        aac.encode(silence(1000))


def test_the_seam_of_a_loop_is_no_louder_than_any_other_place() -> None:
    rng = np.random.default_rng(4)
    frames = 375
    spectrum = np.exp(2j * np.pi * rng.random((2, frames * FRAME // 2 + 1)))
    spectrum *= 1 / np.sqrt(np.arange(1, frames * FRAME // 2 + 2))
    period = np.fft.irfft(spectrum, frames * FRAME, axis=1)
    period = (0.05 * period / period.std()).astype(np.float32)
    heard = aac.decode(aac.loop_file(aac.encode_loop(period), repetitions=2))
    assert heard.shape == (2, 2 * frames * FRAME)
    steps = np.abs(np.diff(np.concatenate([heard, heard[:, :1]], axis=1), axis=1))
    for seam in (frames * FRAME - 1, 2 * frames * FRAME - 1):
        assert steps[:, seam].max() < np.quantile(steps, 0.999)
    error = np.abs(heard - np.tile(period, 2))
    around_seam = np.concatenate([error[:, :FRAME], error[:, -FRAME:]], axis=1)
    assert rms(around_seam) < 1.5 * rms(error)
