"""The network policies come to exactly the table of deploy/kubernetes/README.md: computed from labels and rules."""

import re
from collections.abc import Callable, Iterator, Sequence

import pytest

from tests.support.kubernetes import FOLDER, OVERLAYS, Endpoint, Item, allowed, enters, leaves, of_kind, pod_endpoints
from tests.unit.test_kubernetes import TAG

DNS = Endpoint(
    "names", "10.96.0.10", {"dns": 53}, {"k8s-app": "kube-dns"}, {"kubernetes.io/metadata.name": "kube-system"}
)
OUTSIDERS = (
    Endpoint("ingress", "10.2.0.1", namespace={"access.entrain/gateway": "allowed"}),
    Endpoint("prometheus", "10.2.0.2", namespace={"access.entrain/metrics": "allowed"}),
    Endpoint("stranger", "10.2.0.3", {"http": 80, "https": 443}, {}, {"team": "other"}),
    Endpoint("database", "10.9.0.1", {"direct": 5432, "pooled": 6543, "ssh": 22}),
    Endpoint("valkey", "10.9.0.2", {"valkey": 6379}),
    Endpoint("internet", "203.0.113.7", {"https": 443, "http": 80, "smtp": 25}),
    Endpoint("metadata", "169.254.169.254", {"http": 80, "https": 443}),
)
BROKER_ELSEWHERE = Endpoint("broker", "203.0.113.8", {"amqps": 5671, "amqp": 5672})
NODE = {"app.kubernetes.io/name": "rabbitmq", "app.kubernetes.io/component": "rabbitmq"}
BROKER_HERE = Endpoint(
    "rabbitmq", "10.1.1.1", {"amqp": 5672, "api": 15672, "metrics": 15692, "names": 4369, "nodes": 25672}, NODE,
    inside=True,
)  # fmt: skip
TABLE_NAMES = {
    ("database", 5432): "database",
    ("database", 6543): "database",
    ("valkey", 6379): "valkey",
    ("internet", 443): "internet",
    ("broker", 5671): "broker",
    ("rabbitmq", 5672): "broker",
    ("rabbitmq", 15672): "broker-api",
}
"""How the table names what is not a process of ours."""


def endpoints(overlay: str) -> list[Endpoint]:
    return [*pod_endpoints(overlay), *OUTSIDERS, BROKER_HERE if has_broker(overlay) else BROKER_ELSEWHERE]


def has_broker(overlay: str) -> bool:
    return bool(of_kind(overlay, "RabbitmqCluster"))


Rule = Callable[[Sequence[Item], Endpoint, Endpoint, int], bool]


def computed(overlay: str, rule: Rule) -> Iterator[tuple[str, str]]:
    """Who reaches whom by a rule, of all who could try. At our own pods every port is tried that anybody has."""
    policies = list(of_kind(overlay, "NetworkPolicy").values())
    everybody = endpoints(overlay)
    known = {port for one in everybody for port in one.ports.values()}
    for source in everybody:
        for target in everybody:
            inside = source.inside or target.inside
            for port in known if target.inside and rule is allowed else target.ports.values():
                if inside and source != target and rule(policies, source, target, port):
                    reached = TABLE_NAMES.get((target.name, port), f"{target.name}:{port}")
                    yield source.name.removesuffix(f"-{TAG}"), reached


def written() -> set[tuple[str, str]]:
    text = (FOLDER / "README.md").read_text()
    _, _, table = text.partition("| from | reaches |")
    rows = re.findall(r"^\| (`.+?) \| (`.+?) \|$", table.partition("\n\n")[0], re.MULTILINE)
    return {(source, target) for sources, targets in rows for source in re.findall(r"`([a-z-]+)`", sources)
            for target in re.findall(r"`([a-z0-9:-]+)`", targets)}  # fmt: skip


def expected(overlay: str) -> set[tuple[str, str]]:
    if has_broker(
        overlay
    ):  # and every other option: its nodes are scraped, and find each other through the cluster's API
        return written() | {("prometheus", "rabbitmq:15692"), ("rabbitmq", "internet"), ("rabbitmq", "stranger:443")}
    elsewhere = written() - {("broker-definitions", "broker-api")} | {("broker-definitions", "internet")}
    return {(source, target) for source, target in elsewhere if source != "backup"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_who_reaches_whom_is_what_the_papers_say(overlay: str) -> None:
    assert set(computed(overlay, allowed)) == expected(overlay)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_each_end_by_itself_refuses_what_the_papers_do_not_say(overlay: str) -> None:
    """So that a mistake at one end opens nothing."""
    bound = {one.name.removesuffix(f"-{TAG}") for one in endpoints(overlay) if one.inside}
    bound |= {"broker", "broker-api"} if has_broker(overlay) else set()
    sent = {(source, target) for source, target in computed(overlay, leaves) if source in bound}
    taken = {(source, target) for source, target in computed(overlay, enters) if target.partition(":")[0] in bound}

    assert sent | taken <= expected(overlay)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_everybody_may_ask_for_names(overlay: str) -> None:
    policies = list(of_kind(overlay, "NetworkPolicy").values())

    assert all(allowed(policies, pod, DNS, 53) for pod in pod_endpoints(overlay))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_pod_that_no_rule_knows_reaches_nobody_and_is_reached_by_nobody(overlay: str) -> None:
    policies = list(of_kind(overlay, "NetworkPolicy").values())
    unknown = Endpoint("unknown", "10.1.2.1", {"http": 8080}, {"app": "unknown"}, inside=True)

    for other in endpoints(overlay):
        assert not any(allowed(policies, unknown, other, port) for port in other.ports.values())
        assert not allowed(policies, other, unknown, 8080)
