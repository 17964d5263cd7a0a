"""Measures every bed on its decoded file and draws it: writes the measurements into docs/sound.md.

    python -m tests.sound_report [--folder docs]

Takes about four minutes. With `ffmpeg` on the path, its decoder is asked too how long every file is.
"""

from __future__ import annotations

import argparse
import shutil
import struct
import subprocess
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.signal import spectrogram

from media import aac, beds
from media.catalogue import CATALOGUE
from media.circle import SECONDS
from media.hibari_speech import HibariSpeech
from media.line_audio import TAIL
from media.loudness import loudness, true_peak
from media.rendering import render
from media.samples import RATE, Samples, decibels
from media.soundscapes import SOUNDSCAPES
from tests.support import bed_measures as measure
from tests.support.pages import with_section

WIDTH, HEIGHT, SHADES = 720, 200, 16
LOWEST_HZ, HIGHEST_HZ = 40.0, 16_000.0
RANGE_DB = 70.0
_DARK_TO_LIGHT = np.array([(13, 8, 45), (98, 20, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("docs"), help="where sound.md is")
    folder: Path = parser.parse_args().folder
    (folder / "sound").mkdir(parents=True, exist_ok=True)
    page = folder / "sound.md"
    text = page.read_text() if page.exists() else "# Sound\n"
    text = with_section(text, "Beds", beds_section(folder / "sound"))
    page.write_text(with_section(text, "Loop seam", seam_section(folder / "sound")))


def beds_section(folder: Path) -> str:
    files = beds.bed_files()
    agreed = 0
    backgrounds, binaurals, solfeggios = [], [], []
    for key, make in files.items():
        file = make()
        heard = aac.decode(file)
        agreed += _decoded_elsewhere(file) in (None, heard.shape[1])
        name = key.rpartition("/")[2].removesuffix(".m4a")
        common = [f"{loudness(heard):.1f}", f"{true_peak(heard):.1f}", f"{measure.seam(heard):.2f}"]
        if "/background/" in key:
            backgrounds.append([name, *_of_background(heard), *common, f"{len(file) * 8 / heard.shape[1] * 48:.0f}"])
            draw(heard, folder / f"{name.lower().replace(' ', '-')}.png")
        elif "/binaural/" in key:
            binaurals.append([name, *_of_binaural(name, heard), *common])
        else:
            solfeggios.append([name, *_of_solfeggio(name, heard), *common])
        if key == beds.binaural_key("alpha_10hz_400"):
            draw(heard[:, : 8 * RATE], folder / "alpha-10hz.png")
        print(name, flush=True)
    pictures = "\n\n".join(
        f"**{name}.** {recipe.__doc__}\n\n![{name}](sound/{name.lower().replace(' ', '-')}.png)"
        for name, recipe in SOUNDSCAPES.items()
    )
    aim = f"{beds.BACKGROUND_LUFS:.0f} LUFS under {beds.BACKGROUND_CEILING_DBTP:.0f} dBTP for backgrounds"
    aim_of_tones = f"{beds.TONE_LUFS:.0f} LUFS under {beds.TONE_CEILING_DBTP:.0f} dBTP for tones"
    columns = ["LUFS", "dBTP", "seam"]
    columns_of_beat = ["left Hz", "right Hz", "beat Hz", "beat error Hz", "leakage dB", "seam error dBFS"]
    return f"""Every bed is made by synthesis (`soundscapes.py`, `grains.py`, `tones.py`). What stands here was
measured on the decoded m4a by `python -m tests.sound_report`, which writes this section and its pictures.
All {len(files)} files decode to exactly the promised number of samples: {SECONDS} s a background, 184 s a
tone{_elsewhere(agreed, len(files))}.

{_table(["background", "repeats", "channels alike", "levels dB", "LUFS", "dBTP", "seam", "kb/s"], backgrounds)}

*Repeats*: how alike the course of levels is to itself at any distance of 20 s and more (1 would be a shorter
loop; waves and rolls of thunder have a pace of their own). *Channels alike*: correlation of left and right (1
is one channel twice). *Levels*: from the 5th to the 95th percentile of tenths of a second. *Seam*: the step
from the last sample to the first, over the largest step anywhere else in the file; under 1 nobody can find it.
The aim is {aim},
{aim_of_tones}.

{_table(["binaural", *columns_of_beat, *columns], binaurals)}

*Leakage*: one side's tone heard on the other side. *Seam error*: the largest difference from two pure tones within
10 ms of the seam. A file repeats one period of 8 s, bit for bit.

{_table(["solfeggio", "Hz", "error Hz", *columns], solfeggios)}

The pictures show three minutes from left to right, {LOWEST_HZ:.0f} Hz to {HIGHEST_HZ / 1000:.0f} kHz from bottom to
top on a logarithmic scale, {RANGE_DB:.0f} dB from dark to light.

These are judgements of figures and pictures, not of ears. Nearest to the real thing are the rains, the brook and the
ocean. Tibetan Om has six singers, each with a mouth, a pitch and a breath of his own; the birds flutter and have
overtones, but are of no real kind; between its near rolls Thunder keeps the rain, and far rolls. Weakest by these
pictures are the wind, which hisses evenly in Birds Chirping and Evening Walk, and Regeneration, more an organ than an
ensemble.

{pictures}

**alpha_10hz_400**, one period of 8 s: two lines, 395 and 405 Hz, and nothing else.

![alpha_10hz_400](sound/alpha-10hz.png)
"""


def _of_background(heard: Samples) -> list[str]:
    levels = np.percentile(measure.levels(heard), [5, 95])
    return [f"{measure.repetition(heard):.2f}", f"{measure.likeness(heard):.2f}", f"{levels[1] - levels[0]:.0f}"]


def _of_binaural(stem: str, heard: Samples) -> list[str]:
    _, beat, carrier = beds._parts(stem.removesuffix("_3min"))
    left = measure.frequency(heard[0], carrier - beat / 2)
    right = measure.frequency(heard[1], carrier + beat / 2)
    return [
        f"{left:.4f}",
        f"{right:.4f}",
        f"{beat:g}",
        f"{abs(right - left - beat):.5f}",
        f"{measure.leakage(heard, carrier - beat / 2, carrier + beat / 2):.0f}",
        f"{measure.seam_error(heard, carrier - beat / 2, carrier + beat / 2):.0f}",
    ]


def _of_solfeggio(name: str, heard: Samples) -> list[str]:
    hertz = float(name.split("_")[1])
    error = abs(measure.frequency(heard[0], hertz) - hertz)
    return [f"{hertz:g}", f"{error:.5f}"]


def seam_section(folder: Path) -> str:
    entry = CATALOGUE[0]
    rendering = render(entry.lines, entry.voice_id, HibariSpeech())
    heard = aac.decode(rendering.m4a)
    draw(np.stack([heard, heard])[:, : 40 * RATE], folder / "session.png")
    edge = RATE // 4
    loudest = decibels(float(max(np.abs(heard[:edge]).max(), np.abs(heard[-edge:]).max())))
    quiet = "digital silence" if loudest == float("-inf") else f"at most {loudest:.0f} dBFS"
    measured = f"{rendering.loudness_lufs:.2f} LUFS, {rendering.true_peak_dbtp:.2f} dBTP"
    return f"""A bed has no seam: the encoder hears the end of the loop before its start and its start again after its
end, and the first packet is the one that would follow the last (`aac.encode_loop`). The figures are in the
tables above.

A session begins with 500 ms of silence and ends with {TAIL * 1000 // RATE} ms after the last rest, so its seam lies in
silence. Of “{entry.title}” ({rendering.duration_ms / 1000:.3f} s, {measured}), decoded,
the first and last 250 ms are {quiet}.

![the first 40 s of a session](sound/session.png)
"""


def _decoded_elsewhere(file: bytes) -> int | None:
    """Samples a channel by ffmpeg's own decoder; None without it."""
    if shutil.which("ffmpeg") is None:
        return None
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", "/dev/stdin", "-f", "s16le", "-"]
    return len(subprocess.run(command, input=file, capture_output=True, check=True, timeout=60).stdout) // 4


def _elsewhere(agreed: int, count: int) -> str:
    if shutil.which("ffmpeg") is None:
        return ""
    shown = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True, timeout=30).stdout
    return f", here and, {agreed} of {count}, in the command line of ffmpeg {shown.split()[2]}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def draw(heard: Samples, path: Path) -> None:
    """The spectrogram of both channels together as a PNG of 16 colours."""
    window = 8192
    step = max(heard.shape[1] // WIDTH, 1)
    hertz, times, power = spectrogram(heard.mean(axis=0), RATE, nperseg=window, noverlap=max(window - step, 0))
    rows = np.geomspace(HIGHEST_HZ, LOWEST_HZ, HEIGHT)
    columns = np.linspace(0, len(times) - 1, WIDTH).round().astype(int)
    level = 10 * np.log10(power[np.searchsorted(hertz, rows).clip(0, len(hertz) - 1)][:, columns] + 1e-20)
    top = np.quantile(level, 0.998)
    shade = ((level - top + RANGE_DB) / RANGE_DB * (SHADES - 1)).clip(0, SHADES - 1).round().astype(np.uint8)
    path.write_bytes(_png(shade))


def _png(shade: npt.NDArray[np.uint8]) -> bytes:
    """4 bits a pixel, by a palette from dark to light."""
    place = np.linspace(0, len(_DARK_TO_LIGHT) - 1, SHADES)
    palette = np.stack([np.interp(place, range(len(_DARK_TO_LIGHT)), part) for part in _DARK_TO_LIGHT.T], axis=1)
    rows = (shade[:, ::2] << 4 | shade[:, 1::2]).astype(np.uint8)
    pixels = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", shade.shape[1], shade.shape[0], 4, 3, 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        (b"PLTE", palette.round().astype(np.uint8).tobytes()),
        (b"IDAT", zlib.compress(pixels, 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


if __name__ == "__main__":
    main()
