"""Checks what AWS and GitHub are given, offline: templates with cfn-lint and checkov, what GitHub runs with zizmor."""

import argparse
import subprocess
import sys
from pathlib import Path

from debian import SetupFailed
from progress import give_up
from toolbox import ensure

REPOSITORY = Path(__file__).resolve().parents[2]
TEMPLATES = REPOSITORY / "deploy" / "aws"
WORKFLOWS = REPOSITORY / ".github"
CHECKOV = ("--framework", "cloudformation", "--compact", "--quiet", "--skip-download", "--skip-results-upload")

NOT_MET = {
    "CKV_AWS_18": "the buckets that hold access logs keep none of their own: it would never end",
    "CKV_AWS_19": "the audio bucket is encrypted; checkov does not see through the choice between SSE-S3 and KMS",
    "CKV_AWS_21": "log files are written once; the audio bucket has versions, as tests/unit/test_aws_templates.py says",
    "CKV_AWS_86": "the distribution's logs are in edge.yaml, the newer kind, which leaves signatures out",
    "CKV_AWS_136": "images hold no secret; ECR's own encryption is enough",
    "CKV_AWS_174": "TLS 1.2 is demanded with a domain; without one CloudFront lets nobody choose",
}
"""What checkov finds and stays as it is."""

NOT_HEEDED = {"W1030": "an empty CertificateArn is no certificate, and is not used as one"}
"""What cfn-lint finds and stays as it is."""


def main() -> int:
    """Runs the checks; the exit status."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    try:
        programs = ensure("checkers")
    except SetupFailed as failure:
        return give_up(failure)
    templates = sorted(str(path.relative_to(REPOSITORY)) for path in TEMPLATES.glob("*.yaml"))
    unheeded, unmet = ",".join(NOT_HEEDED), ",".join(NOT_MET)
    failures = [
        report("deploy/aws, cfn-lint", [str(programs / "cfn-lint"), "--ignore-checks", unheeded, "--", *templates]),
        report(
            "deploy/aws, checkov", [str(programs / "checkov"), *CHECKOV, "--skip-check", unmet, "-d", str(TEMPLATES)]
        ),
        report(".github, zizmor", [str(programs / "zizmor"), "--offline", "--quiet", str(WORKFLOWS)]),
    ]
    return 1 if any(failures) else 0


def report(name: str, command: list[str]) -> int:
    """Runs a check, says how it went, and returns its exit status."""
    status = subprocess.run(command, cwd=REPOSITORY, check=False).returncode
    print(f"{name}: {'right' if status == 0 else 'wrong'}", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
