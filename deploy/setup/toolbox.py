"""Makes an environment in `.cache` for tools whose own packages clash with the locked set.

Each list of `deploy/setup/toolbox` has one; `make lock` renews the lists. Does nothing when the environment is made
from its list already.
"""

import argparse
import shutil
import sys
from pathlib import Path

from debian import SetupFailed, run_quietly
from progress import give_up, step

REPOSITORY = Path(__file__).resolve().parents[2]
LISTS = Path(__file__).with_name("toolbox")
UV = REPOSITORY / ".venv" / "bin" / "uv"


def main() -> int:
    """Runs the set-up; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(path.stem for path in LISTS.glob("*.in")))
    try:
        print(ensure(parser.parse_args().name))
    except SetupFailed as failure:
        return give_up(failure)
    return 0


def ensure(name: str) -> Path:
    """The folder of the tools' programs, made when it is not there; SetupFailed with the reason when it cannot be."""
    wanted = (LISTS / f"{name}.txt").read_text()
    folder = REPOSITORY / ".cache" / name
    stamp = folder / "made-from"
    if stamp.exists() and stamp.read_text() == f"{folder}\n{wanted}":
        return folder / "bin"
    if not UV.exists():
        raise SetupFailed("the environment is not here: run deploy/setup/environment.py first")
    with step(f"installing the tools of deploy/setup/toolbox/{name}.txt"):
        shutil.rmtree(folder, ignore_errors=True)
        run_quietly([sys.executable, "-m", "venv", "--without-pip", str(folder)])
        target = ["--python", str(folder / "bin/python"), "--compile-bytecode", "--require-hashes"]
        run_quietly([str(UV), "pip", "sync", "--quiet", *target, str(LISTS / f"{name}.txt")])
    stamp.write_text(f"{folder}\n{wanted}")
    return folder / "bin"


if __name__ == "__main__":
    sys.exit(main())
