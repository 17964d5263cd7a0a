"""The same session in another process, on another number of threads."""

from __future__ import annotations

import os
import subprocess
import sys

from media.hibari_speech import HibariSpeech
from media.rendering import render

LINES = ["I choose calm over worry tonight.", "Each breath brings me home.", "I trust the pace of my own body."]
_ELSEWHERE = f"""
from media.rendering import render
from media.hibari_speech import HibariSpeech
print(render({LINES!r}, "onyx", HibariSpeech(), threads=3).sha256)
"""


def test_the_same_session_is_the_same_bytes_in_another_process_on_other_threads() -> None:
    here = render(LINES, "onyx", HibariSpeech(), threads=1).sha256
    threads = {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2", "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", _ELSEWHERE]
    there = subprocess.run(command, env={**os.environ, **threads}, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here
