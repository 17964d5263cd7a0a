"""Writes what each image is made of: a CycloneDX document per service, from the list its image is installed from.

Every package is named with its version and the hashes of the files it may come as.
"""

import argparse
import sys
from pathlib import Path

from debian import SetupFailed, run_quietly
from progress import give_up, step
from toolbox import ensure

REPOSITORY = Path(__file__).resolve().parents[2]
LISTS = REPOSITORY / "deploy" / "requirements"


def main() -> int:
    """Writes the documents; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--into", type=Path, default=REPOSITORY / ".data" / "sbom", help="the folder (default: .data/sbom)"
    )
    parser.add_argument("--unchecked", action="store_true", help="do not hold them against CycloneDX's schema: quicker")
    wanted = parser.parse_args()
    target: Path = wanted.into
    checked = "--no-validate" if wanted.unchecked else "--validate"
    try:
        program = ensure("sbom") / "cyclonedx-py"
        target.mkdir(parents=True, exist_ok=True)
        for listed in sorted(LISTS.glob("*.txt")):
            with step(f"{target / listed.stem}.cdx.json"):
                write(program, listed, target / f"{listed.stem}.cdx.json", checked)
    except SetupFailed as failure:
        return give_up(failure)
    return 0


def write(program: Path, listed: Path, document: Path, checked: str) -> None:
    """The same document for the same list."""
    kind = "services" if (REPOSITORY / "services" / listed.stem).is_dir() else "deploy"
    project = REPOSITORY / kind / listed.stem / "pyproject.toml"
    form = ["--output-reproducible", "--short-PURLs", "--spec-version", "1.6", "--output-format", "JSON", checked]
    run_quietly([str(program), "requirements", *form, "--pyproject", str(project), "-o", str(document), str(listed)])


if __name__ == "__main__":
    sys.exit(main())
