"""The Kubernetes files as kubectl builds them, and what their network policies come to."""

import ipaddress
import subprocess
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.support.docker_files import REPOSITORY

FOLDER = REPOSITORY / "deploy" / "kubernetes"
OVERLAYS = sorted(path.name for path in (FOLDER / "overlays").iterdir())

Item = dict[str, Any]


@cache
def built(overlay: str) -> tuple[Item, ...]:
    """Every object of an overlay. Fails with kubectl's own words when it cannot be built."""
    kubectl = Path(sysconfig.get_path("scripts")) / "kubectl"
    command = [str(kubectl), "kustomize", str(FOLDER / "overlays" / overlay)]
    answer = subprocess.run(command, check=False, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return tuple(yaml.load_all(answer.stdout, yaml.CSafeLoader))


def of_kind(overlay: str, *kinds: str) -> dict[str, Item]:
    """Objects of these kinds by name."""
    return {item["metadata"]["name"]: item for item in built(overlay) if item["kind"] in kinds}


def pods(overlay: str) -> dict[str, Item]:
    """The pod template of every deployment and job, by the name of its owner."""
    return {name: pod_of(item) for name, item in of_kind(overlay, "Deployment", "Job", "CronJob").items()}


def pod_of(item: Item) -> Item:
    spec = item["spec"]["jobTemplate"]["spec"] if item["kind"] == "CronJob" else item["spec"]
    template: Item = spec["template"]
    return template


def container(pod: Item) -> Item:
    (only,) = pod["spec"]["containers"]
    found: Item = only
    return found


def variables(overlay: str, pod: Item) -> tuple[dict[str, str], dict[str, tuple[str, bool]]]:
    """What a pod's process is given: values from its settings, and names from a secret with whether they are needed."""
    settings: dict[str, str] = {}
    for source in container(pod)["envFrom"]:
        settings |= of_kind(overlay, "ConfigMap")[source["configMapRef"]["name"]]["data"]
    secrets = {}
    for variable in container(pod)["env"]:
        reference = variable["valueFrom"]["secretKeyRef"]
        assert reference["key"] == variable["name"]
        secrets[variable["name"]] = (reference["name"], not reference.get("optional", False))
    return settings, secrets


@dataclass(frozen=True)
class Endpoint:
    """A pod or somebody else who takes part in traffic. ``ports`` are those it listens on, by name where it has one.

    Without ``inside`` no policy of ours applies to it; its ``namespace`` labels tell the policies who it is.
    """

    name: str
    address: str
    ports: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    namespace: Mapping[str, str] = field(default_factory=dict)
    inside: bool = False


def allowed(policies: Sequence[Item], source: Endpoint, target: Endpoint, port: int) -> bool:
    """Whether a connection may be made, as the API's reference defines it: both ends must agree."""
    return leaves(policies, source, target, port) and enters(policies, source, target, port)


def leaves(policies: Sequence[Item], source: Endpoint, target: Endpoint, port: int) -> bool:
    return _passes(policies, "Egress", of=source, peer=target, target=target, port=port)


def enters(policies: Sequence[Item], source: Endpoint, target: Endpoint, port: int) -> bool:
    return _passes(policies, "Ingress", of=target, peer=source, target=target, port=port)


def _passes(
    policies: Sequence[Item], direction: str, *, of: Endpoint, peer: Endpoint, target: Endpoint, port: int
) -> bool:
    """An endpoint that no policy selects for this direction is open; otherwise one rule of one policy must fit."""
    if not of.inside:
        return True
    selecting = [
        policy["spec"]
        for policy in policies
        if direction in policy["spec"]["policyTypes"] and _selects(policy["spec"]["podSelector"], of.labels)
    ]
    end = "to" if direction == "Egress" else "from"
    rules = [rule for spec in selecting for rule in spec.get(direction.lower(), [])]
    return not selecting or any(
        any(_is_peer(one, peer) for one in rule[end]) and any(_is_port(one, target, port) for one in rule["ports"])
        for rule in rules
    )


def _is_peer(rule: Item, peer: Endpoint) -> bool:
    if block := rule.get("ipBlock"):
        address = ipaddress.ip_address(peer.address)
        excluded = any(address in ipaddress.ip_network(network) for network in block.get("except", []))
        return address in ipaddress.ip_network(block["cidr"]) and not excluded
    if "namespaceSelector" not in rule:  # then a pod of the policy's own namespace is meant
        return peer.inside and _selects(rule["podSelector"], peer.labels)
    return _selects(rule["namespaceSelector"], peer.namespace) and _selects(rule.get("podSelector", {}), peer.labels)


def _is_port(rule: Item, target: Endpoint, port: int) -> bool:
    wanted = rule["port"]
    if isinstance(wanted, str):
        return target.ports.get(wanted) == port
    last: int = rule.get("endPort") or wanted
    return port in range(wanted, last + 1)


def _selects(selector: Item, labels: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        _meets(expression, labels) for expression in selector.get("matchExpressions", [])
    )


def _meets(expression: Item, labels: Mapping[str, str]) -> bool:
    assert expression["operator"] == "In", "teach this function the operator"
    return labels.get(expression["key"]) in expression["values"]


def pod_endpoints(overlay: str) -> Iterator[Endpoint]:
    """An endpoint for the pods of each deployment and job, each at an address of the cluster."""
    for number, (name, pod) in enumerate(sorted(pods(overlay).items())):
        ports = {port["name"]: port["containerPort"] for port in container(pod).get("ports", [])}
        yield Endpoint(name, f"10.1.0.{number + 1}", ports, pod["metadata"]["labels"], inside=True)
