"""Plays the whole running product against its published API with schemathesis, and tells what did not hold.

`make fuzz` is the long form: `make fuzz ARGS="--examples 500 --seed 7"`. `make test` plays a short one, its seed fixed.
"""

import argparse
import asyncio
import os
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from common.observability import configure_logging
from embedded.kept_secrets import KeptSecrets
from tests.fuzz import wire
from tests.support.playground import FREE, PRO, Playground, playground

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
PHASES = "examples,coverage,fuzzing,stateful"
_CASES = re.compile(r"(\d+) generated")


@dataclass(frozen=True)
class Outcome:
    """``text`` is everything schemathesis printed; ``cases`` is how many requests it made up."""

    code: int
    cases: int
    text: str


async def fuzz(ground: Playground, user_id: str, *, examples: int, seed: int, phases: str = PHASES) -> Outcome:
    """Every operation of the served document, as this user."""
    options = {"url": ground.product.url, "checks": "all", "phases": phases, "max-examples": examples, "seed": seed}
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION)),
        *("run", f"{ground.product.url}/openapi.json", *(f"--{name}={value}" for name, value in options.items())),
        env=_environment(ground, user_id),
        cwd=ground.data,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await child.communicate()
    finally:
        if child.returncode is None:
            child.kill()
    text = output.decode()
    made = _CASES.search(text)
    return Outcome(child.returncode or 0, int(made[1]) if made else 0, text)


def _environment(ground: Playground, user_id: str) -> dict[str, str]:
    secrets = KeptSecrets(ground.data / "secrets")
    return {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        "SCHEMATHESIS_HOOKS": "tests.fuzz.hooks",
        wire.DATA: str(ground.data),
        wire.PORT: ground.product.url.rpartition(":")[2],
        wire.USER: user_id,
        wire.GRANT: ground.grant,
        wire.CLERK_WEBHOOK_SECRET: secrets.clerk_webhook_secret,
        wire.WEBHOOK_AUTHORIZATION: secrets.text("webhook_authorization"),
        wire.WEBHOOK_SECRET: secrets.text("webhook_secret"),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--examples", type=int, default=200, help="cases for each operation and phase (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="other seeds try other cases (%(default)s)")
    parser.add_argument("--phases", default=PHASES, help="some of %(default)s")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="entrain-fuzz-") as folder, Path(folder, "log").open("w") as log:
        configure_logging("entrain", level="warning", stream=log)
        return asyncio.run(_play(Path(folder), wanted.examples, wanted.seed, wanted.phases))


async def _play(data: Path, examples: int, seed: int, phases: str) -> int:
    codes = []
    async with playground(data) as ground:
        for user_id in (PRO, FREE):
            print(f"\nas {user_id}, seed {seed}", flush=True)
            outcome = await fuzz(ground, user_id, examples=examples, seed=seed, phases=phases)
            print(outcome.text, flush=True)
            codes.append(outcome.code)
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
