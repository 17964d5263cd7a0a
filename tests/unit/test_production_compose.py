"""The compose file for stores that are elsewhere: the same processes, nothing private, nothing beside them."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.docker_files import PRODUCTION_FILE, REPOSITORY, compose, configuration, demanded, read_variables
from tests.unit.test_compose import NOT_FOR_COMPOSE, ONCE, OPERATIONS, PROCESSES, SETTINGS, reads

STORES_JOBS = {"database-roles", "broker-definitions"}
"""What gives rights in the stores runs elsewhere: it needs passwords that the processes' machine need not know."""
GIVEN = {name: f"given-{name.lower()}" for name in read_variables(PRODUCTION_FILE)}


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    found: dict[str, Any] = configuration(GIVEN, tmp_path_factory.mktemp("compose"), PRODUCTION_FILE)["services"]
    return found


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The services of docker-compose.yml, which brings its stores."""
    given = {name: f"given-{name.lower()}" for name in read_variables()}
    found: dict[str, Any] = configuration(given, tmp_path_factory.mktemp("private"))["services"]
    return found


def test_every_process_is_there_and_no_store(services: dict[str, Any]) -> None:
    assert set(services) == PROCESSES | OPERATIONS | ONCE - STORES_JOBS


@pytest.mark.parametrize("missing", sorted(demanded(PRODUCTION_FILE)))
def test_nothing_starts_while_something_needed_is_missing(missing: str, tmp_path: Path) -> None:
    given = dict.fromkeys(demanded(PRODUCTION_FILE) - {missing}, "given")

    answer = compose(["config", "--quiet"], given, tmp_path, PRODUCTION_FILE)

    assert answer.returncode != 0
    assert missing in answer.stderr


@pytest.mark.parametrize("process", sorted(PROCESSES | ONCE - STORES_JOBS))
def test_a_process_is_given_the_variables_it_reads_and_no_others(process: str, services: dict[str, Any]) -> None:
    fields = reads(SETTINGS[process.partition("-")[0]])
    given = set(services[process]["environment"]) - {"HEALTH_URL"}
    kept_out = NOT_FOR_COMPOSE - {"DATABASE_DIRECT_URL", "DATABASE_POOLER"}

    assert given - set().union(*fields.values()) == set()
    assert {field for field, names in fields.items() if not names & (given | kept_out)} == set()


@pytest.mark.parametrize("process", sorted(PROCESSES))
def test_a_process_has_its_own_way_to_its_stores(process: str, services: dict[str, Any]) -> None:
    user, environment = process.partition("-")[0].upper(), services[process]["environment"]

    urls = {name: value for name, value in environment.items() if re.search(r"(DATABASE|RABBITMQ|DIRECT)_URL$", name)}
    assert f"{user}_RABBITMQ_URL" in urls
    assert all(name.startswith(f"{user}_") and value == f"given-{name.lower()}" for name, value in urls.items())


def test_an_operator_is_given_what_every_service_is_given(services: dict[str, Any]) -> None:
    given = services["operations"]["environment"]
    for process in PROCESSES:
        expected = {name: value for name, value in services[process]["environment"].items() if name != "HEALTH_URL"}
        assert expected.items() <= given.items(), process


def test_images_are_a_registrys_and_all_of_one_version(services: dict[str, Any]) -> None:
    for name, service in services.items():
        image = f"given-entrain_registry/entrain-{name.partition('-')[0]}:given-entrain_version"
        assert service["image"] == image
        assert "build" not in service
        assert not service.get("volumes"), name


def test_a_process_is_as_confined_as_with_stores_of_our_own(services: dict[str, Any], private: dict[str, Any]) -> None:
    for name, service in services.items():
        for rule in ("read_only", "tmpfs", "cap_drop", "security_opt", "restart", "deploy", "ports", "command"):
            assert service.get(rule) == private[name].get(rule), (name, rule)


def test_the_apis_have_a_network_to_themselves(services: dict[str, Any]) -> None:
    among = {name for name, service in services.items() if "services" in service["networks"]}

    assert among == {"gateway", "identity-api", "billing-api", "media-api"} | OPERATIONS
    assert {name for name, service in services.items() if service.get("ports")} == {"gateway"}


def test_every_variable_is_described_in_an_example_file() -> None:
    examples = [REPOSITORY / ".env.example", REPOSITORY / "deploy" / "compose.production.env.example"]
    described = set().union(*(re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", path.read_text(), re.M) for path in examples))

    assert read_variables(PRODUCTION_FILE) - described == set()
