"""Looks for known holes in the locked packages (asks the package index) and for secrets in the files of this folder."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from debian import SetupFailed
from progress import give_up, step
from toolbox import ensure

REPOSITORY = Path(__file__).resolve().parents[2]
GUESSWORK = ("Base64HighEntropyString", "HexHighEntropyString", "KeywordDetector", "BasicAuthDetector")
"""Detectors that take any hash or example for a secret. The others know how keys look: AWS, GitHub, Stripe, PEM …"""


def main() -> int:
    """Runs both; the exit status, 1 when one of them found something."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    try:
        programs = ensure("scanners")
        with step("looking for secrets"):
            found = secrets(programs / "detect-secrets")
    except SetupFailed as failure:
        return give_up(failure)
    for line in found:
        print(f"a secret, or what looks like one: {line}; take it back at its issuer, then out of the history")
    options = ("--disable-pip", "--require-hashes", "--requirement", "requirements.lock")
    holes = subprocess.run([str(programs / "pip-audit"), *options], cwd=REPOSITORY, check=False).returncode
    return 1 if found or holes else 0


def secrets(program: Path) -> list[str]:
    """Place and kind of each. What has an ellipsis in it is an example. SetupFailed when the files cannot be read."""
    quiet = [part for name in GUESSWORK for part in ("--disable-plugin", name)]
    command = [str(program), "scan", "--no-verify", "--exclude-lines", "…", *quiet]
    ended = subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=True, text=True)
    if ended.returncode:
        raise SetupFailed(ended.stderr.strip())
    results = json.loads(ended.stdout)["results"].values()
    return [f"{each['filename']}:{each['line_number']} ({each['type']})" for file in results for each in file]


if __name__ == "__main__":
    sys.exit(main())
