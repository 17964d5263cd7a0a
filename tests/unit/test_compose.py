"""The compose file: complete, closed, and in agreement with the settings it feeds."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from backup.settings import BackupSettings
from common.settings import Settings
from described_settings import CLASSES, names_of
from tests.support.docker_files import REPOSITORY, compose, configuration, demanded, read_variables

SETTINGS = {settings.service: settings for settings in CLASSES}
PROCESSES = {"gateway", *(f"{name}-{part}" for name in ("identity", "billing", "media") for part in ("api", "worker"))}
BACKUP = {"backup"}
OPERATIONS = {"operations"}
"""Not started with the others: an operator runs it."""
STORES = {"postgres", "rabbitmq", "seaweedfs"}
ONCE = {
    "database-roles",
    "broker-definitions",
    "identity-migrate",
    "billing-migrate",
    "media-migrate",
    "media-seed-catalog",
}
WATCHERS = {"prometheus", "grafana"}
NOT_FOR_COMPOSE = {
    "DATABASE_DIRECT_URL",  # the database is reached directly
    "DATABASE_POOLER",
    "ENTRAIN_REVISION",  # the image says it itself
    "GATEWAY_PUBLIC_KEYS",  # the gateway is there to be asked
    "GATEWAY_DEVELOPMENT_USER",  # refused in production
}


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The file's services with a stand-in for every variable it can take."""
    given = {name: f"given-{name.lower()}" for name in read_variables()}
    found: dict[str, Any] = configuration(given, tmp_path_factory.mktemp("compose"))["services"]
    return found


def reads(settings: type[Settings]) -> dict[str, set[str]]:
    """The environment names of each field, the service's own first."""
    return {name: set(names_of(field)) for name, field in settings.model_fields.items()}


def test_the_file_names_every_part_of_the_product(services: dict[str, Any]) -> None:
    assert set(services) == PROCESSES | STORES | ONCE | BACKUP | OPERATIONS | WATCHERS


@pytest.mark.parametrize("missing", sorted(demanded()))
def test_nothing_starts_while_a_secret_is_missing(missing: str, tmp_path: Path) -> None:
    given = dict.fromkeys(demanded() - {missing}, "given")

    answer = compose(["config", "--quiet"], given, tmp_path)

    assert answer.returncode != 0
    assert missing in answer.stderr


def test_every_secret_is_demanded(services: dict[str, Any]) -> None:
    optional = read_variables() - demanded()
    secret = {name for name in optional if re.search(r"PASSWORD|SIGNING_KEY|API_KEY|ACCESS_KEY", name)}

    assert secret == {"OPENAI_API_KEY", "ELEVENLABS_API_KEY"}  # without them everything is done offline


@pytest.mark.parametrize("process", sorted(PROCESSES))
def test_a_process_is_given_the_variables_it_reads_and_no_others(process: str, services: dict[str, Any]) -> None:
    settings = SETTINGS[process.partition("-")[0]]
    fields = reads(settings)
    given = set(services[process]["environment"]) - {"HEALTH_URL"}

    assert given - set().union(*fields.values()) == set()
    unreachable = {field for field, names in fields.items() if not names & (given | NOT_FOR_COMPOSE)}
    assert unreachable == set()


def test_backups_are_made_only_where_they_are_asked_for(services: dict[str, Any]) -> None:
    assert {name for name, service in services.items() if service.get("profiles")} == BACKUP | OPERATIONS | WATCHERS
    given = services["backup"]["environment"]
    assert set(given) - reads(BackupSettings).keys() - set().union(*reads(BackupSettings).values()) == set()


def test_an_operator_is_given_what_every_service_is_given(services: dict[str, Any]) -> None:
    """And each service's own way to the broker under its own name, as they share a network."""
    given = services["operations"]["environment"]
    for process in PROCESSES:
        expected = dict(services[process]["environment"])
        expected.pop("HEALTH_URL", None)
        broker = expected.pop("RABBITMQ_URL")
        assert expected.items() <= given.items(), process
        assert given[f"{process.partition('-')[0].upper()}_RABBITMQ_URL"] == broker
        assert set(services["operations"]["networks"]) & set(services[process]["networks"]), process
    assert {"data", "edge"} <= set(services["operations"]["networks"])
    assert "restart" not in services["operations"]


def test_what_env_says_arrives(services: dict[str, Any]) -> None:
    assert services["gateway"]["environment"]["ALLOWED_ORIGINS"] == "given-allowed_origins"
    url = "postgresql://media:given-media_database_password@postgres:5432/entrain"
    assert services["media-worker"]["environment"]["MEDIA_DATABASE_URL"] == url


@pytest.mark.parametrize("process", sorted(PROCESSES))
def test_a_process_comes_to_the_broker_as_its_own_user(process: str, services: dict[str, Any]) -> None:
    user = process.partition("-")[0]

    url = f"amqp://{user}:given-{user}_rabbitmq_password@rabbitmq:5672/"
    assert services[process]["environment"]["RABBITMQ_URL"] == url


def test_every_variable_is_described_in_an_example_file() -> None:
    examples = [REPOSITORY / ".env.example", REPOSITORY / "deploy" / "compose.env.example"]
    described = set().union(*(re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", path.read_text(), re.M) for path in examples))

    assert read_variables() - described == set()


def test_only_the_gateway_and_those_who_watch_are_published_and_on_loopback(services: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in services.items() if service.get("ports")}

    assert set(published) == {"gateway"} | WATCHERS
    assert [port["target"] for port in published["gateway"]] == [8787]
    assert {port["host_ip"] for ports in published.values() for port in ports} == {"127.0.0.1"}


def test_only_owners_of_data_reach_the_stores_and_only_the_edge_has_a_way_out(services: dict[str, Any]) -> None:
    reaches_data = {name for name, service in services.items() if "data" in service["networks"]}
    has_way_out = {name for name, service in services.items() if "edge" in service["networks"]}

    hears_events = {name for name, service in services.items() if "events" in service["networks"]}

    assert "gateway" not in reaches_data
    assert hears_events == {"gateway", "rabbitmq"}
    assert not has_way_out & STORES


def test_every_container_is_hardened_and_limited(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert {"cpus", "memory", "pids"} <= set(service["deploy"]["resources"]["limits"]), name
        assert not service.get("privileged"), name


def test_processes_come_back_and_have_time_to_finish(services: dict[str, Any]) -> None:
    for name in PROCESSES | STORES | BACKUP:
        assert services[name]["restart"] == "unless-stopped"
        assert services[name]["stop_grace_period"] == "40s"
    for name in ONCE:
        assert services[name]["restart"] == "on-failure:3"


def test_who_watches_is_started_on_demand_and_finds_every_process(tmp_path: Path) -> None:
    given = dict.fromkeys(read_variables(), "given")
    services = configuration(given, tmp_path)["services"]
    jobs = yaml.safe_load((REPOSITORY / "deploy" / "observability" / "prometheus.yml").read_text())["scrape_configs"]

    assert {job["job_name"] for job in jobs} == PROCESSES
    assert all(job["static_configs"][0]["targets"][0].partition(":")[0] == job["job_name"] for job in jobs)
    test_every_container_is_hardened_and_limited(services)
    for name in WATCHERS:
        assert {port["host_ip"] for port in services[name]["ports"]} == {"127.0.0.1"}
        for mounted in services[name]["volumes"]:
            assert mounted["type"] == "volume" or Path(mounted["source"]).exists()
    reached = set(services["prometheus"]["networks"])
    assert all(reached & set(services[name]["networks"]) for name in PROCESSES)
    assert "data" not in reached


def test_whoever_is_waited_for_can_say_that_it_is_ready(services: dict[str, Any]) -> None:
    """An API's and a worker's check comes with its image."""
    for name, service in services.items():
        for awaited, rule in (service.get("depends_on") or {}).items():
            if rule["condition"] == "service_healthy":
                assert awaited in PROCESSES or services[awaited]["healthcheck"]["test"], name
            else:
                assert rule["condition"] == "service_completed_successfully"
                assert awaited in ONCE, name
