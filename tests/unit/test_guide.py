"""deploy/GUIDE.md: what it has people type exists, and its ten minutes end with settings that every process takes."""

import os
import re
import subprocess
from pathlib import Path
from unittest.mock import patch
from urllib.parse import urlsplit

import pytest
import yaml

from described_settings import CLASSES, OTHERS, names_of, variables
from entrain.deployment import read_deployment
from tests.support.docker_files import REPOSITORY, configuration

GUIDE = (REPOSITORY / "deploy" / "GUIDE.md").read_text("utf-8")
BLOCKS = re.findall(r"^ *```bash\n(.*?)^ *```", GUIDE, re.MULTILINE | re.DOTALL)
NAMES = {name for settings in CLASSES for field in settings.model_fields.values() for name in names_of(field)}
_METRIC = re.compile(r"\"([a-z]+(?:_[a-z]+)*_(?:seconds|total))\"")
OF_OTHERS = {"ADMIN_URL", "ON_ERROR_STOP", "CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"}
"""psql's and AWS's, and what the shell is told there and then."""
FROM_THE_CONSOLES = {
    "pk_live_…": "pk_live_Y2xlcmsuZXhhbXBsZS5jb20k",
    "sk_live_…": "sk_live_stands-for-a-secret",
    "sk_…": "sk_stands-for-a-secret",
    "AKIA…": "AKIASTANDSFORAKEY",
    "=…": "=stands-for-a-secret",
}


def block(beginning: str) -> str:
    (found,) = (str(text) for text in BLOCKS if text.startswith(beginning))
    return found


@pytest.fixture(scope="module")
def env_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `.env` that the blocks of the ten minutes write, with values in place of what the consoles show."""
    folder = tmp_path_factory.mktemp("newcomer")
    (folder / "deploy").symlink_to(REPOSITORY / "deploy")
    values = block("cat >> .env")
    for shown, value in FROM_THE_CONSOLES.items():
        values = values.replace(shown, value)
    given = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    subprocess.run(["bash", "-euo", "pipefail", "-c", block("umask 077") + values], cwd=folder, env=given, check=True)
    return folder / ".env"


def test_after_ten_minutes_every_process_is_given_settings_it_starts_with(
    env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = dict(line.split("=", 1) for line in env_file.read_text("utf-8").splitlines())
    processes = configuration(written, env_file.parent)["services"]

    for settings in CLASSES:
        process = settings.service if settings.service == "gateway" else f"{settings.service}-api"
        with monkeypatch.context() as patched:
            for name in NAMES & os.environ.keys():
                patched.delenv(name)
            for name, value in processes[process]["environment"].items():
                patched.setenv(name, value or "")
            settings.load()


def test_after_ten_minutes_operators_can_ask_about_every_service(env_file: Path) -> None:
    written = dict(line.split("=", 1) for line in env_file.read_text("utf-8").splitlines())
    given = configuration(written, env_file.parent)["services"]["operations"]["environment"]
    with patch.dict(os.environ, {name: value or "" for name, value in given.items()}, clear=True):
        deployment = read_deployment()

    assert deployment.faults == {}
    for service in deployment.settings:
        assert urlsplit(deployment.broker_url(service)).username == service


def test_only_its_owner_may_read_what_was_written(env_file: Path) -> None:
    assert env_file.stat().st_mode & 0o077 == 0


def test_files_in_commands_are_there() -> None:
    named = set(re.findall(r"(?<![\w/.-])(?:deploy|docs|services|tests)/[\w./-]+\w", "\n".join(BLOCKS)))

    assert {"deploy/compose.env.example", "deploy/postgres/schemas.sql"} <= named
    assert [name for name in sorted(named) if not (REPOSITORY / name).exists()] == []


def test_parameters_of_stacks_are_those_of_their_templates() -> None:
    commands = "".join(BLOCKS).replace("\\\n", " ")
    stacks = re.findall(r"--template-file (\S+).*--parameter-overrides (.*)", commands)

    assert len(stacks) == 3
    for template, parameters in stacks:
        known = re.findall(r"^  (\w+):$", (REPOSITORY / template).read_text("utf-8"), re.MULTILINE)
        assert set(re.findall(r"(\w+)=", parameters)) - set(known) == set()


def test_containers_in_commands_are_in_the_compose_file() -> None:
    services = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text("utf-8"))["services"]
    named = set(re.findall(r"docker compose (?:logs|exec|run --rm|restart) ([a-z-]+)", GUIDE))

    assert named
    assert named - set(services) == set()


def test_variables_are_those_of_the_settings_and_of_compose() -> None:
    asked_for = "".join(path.read_text("utf-8") for path in (REPOSITORY / "deploy").glob("*.env.example"))
    known = NAMES | set(OTHERS) | set(re.findall(r"^([A-Z_]+)=", asked_for, re.MULTILINE)) | OF_OTHERS
    named = set(re.findall(r"(?<![\w…])[A-Z][A-Z0-9]*_[A-Z0-9_]*[A-Z0-9]\b", GUIDE))

    assert named - known == set()


def test_every_secret_has_a_way_to_be_replaced() -> None:
    paper = (REPOSITORY / "docs" / "rotation.md").read_text("utf-8")
    secret = {variable.name for variable in variables() if variable.secret}

    assert "GATEWAY_SIGNING_KEY" in secret
    assert {name for name in secret if name not in paper} == set()


def test_metrics_are_those_the_code_measures() -> None:
    code = [path.read_text() for name in ("libs", "services") for path in (REPOSITORY / name).rglob("*.py")]
    measured = {name for text in code for name in _METRIC.findall(text)}
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)*_(?:seconds|total))`", GUIDE))

    assert "outbox_oldest_seconds" in named
    assert named - measured == set()
