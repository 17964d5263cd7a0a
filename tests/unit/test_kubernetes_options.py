"""What operators are asked for, and the check of the manifests itself. Their kinds have no schema at hand."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from tests.support.docker_files import REPOSITORY
from tests.support.kubernetes import FOLDER, built, container, of_kind, pods

PRODUCTION = "production"


def only(kind: str) -> dict[str, Any]:
    (found,) = of_kind(PRODUCTION, kind).values()
    return found


@pytest.fixture(scope="module")
def check() -> ModuleType:
    """deploy/setup/kubernetes_files.py."""
    spec = importlib.util.spec_from_file_location("kubernetes_files", REPOSITORY / "deploy/setup/kubernetes_files.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_broker_has_three_nodes_apart_with_our_configuration() -> None:
    cluster = only("RabbitmqCluster")
    (apart,) = cluster["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]

    assert (cluster["apiVersion"], cluster["metadata"]["name"]) == ("rabbitmq.com/v1beta1", "rabbitmq")
    assert cluster["spec"]["replicas"] == 3
    assert cluster["spec"]["rabbitmq"] == {
        "additionalConfig": (REPOSITORY / "deploy/rabbitmq/rabbitmq.conf").read_text()
    }
    assert apart["topologyKey"] == "kubernetes.io/hostname"
    assert apart["labelSelector"]["matchLabels"]["app.kubernetes.io/name"] == "rabbitmq"
    assert cluster["spec"]["image"].partition(":")[2].startswith("4.")
    limits = cluster["spec"]["resources"]
    assert limits["requests"]["memory"] == limits["limits"]["memory"]  # half of it is the broker's mark
    assert of_kind(PRODUCTION, "PodDisruptionBudget")["rabbitmq"]["spec"]["maxUnavailable"] == 1


def test_the_brokers_containers_are_as_the_namespace_demands() -> None:
    override = only("RabbitmqCluster")["spec"]["override"]["statefulSet"]["spec"]["template"]["spec"]
    for part in (*override["containers"], *override["initContainers"]):
        assert part["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        }


def test_render_workers_follow_their_queue() -> None:
    scaled, authentication = only("ScaledObject"), only("TriggerAuthentication")
    (trigger,) = scaled["spec"]["triggers"]
    (reference,) = authentication["spec"]["secretTargetRef"]

    assert scaled["apiVersion"] == authentication["apiVersion"] == "keda.sh/v1alpha1"
    assert scaled["spec"]["scaleTargetRef"]["name"] in of_kind(PRODUCTION, "Deployment")
    assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
    assert reference == {"parameter": "connection", "name": "media-secrets", "key": "DATABASE_URL"}
    assert all(isinstance(value, str) for value in trigger["metadata"].values())  # KEDA takes nothing else
    assert scaled["spec"]["minReplicaCount"] <= scaled["spec"]["fallback"]["replicas"]
    assert scaled["spec"]["fallback"]["replicas"] <= scaled["spec"]["maxReplicaCount"]


def test_every_process_is_scraped_on_the_port_that_is_not_for_the_public() -> None:
    monitor = of_kind(PRODUCTION, "PodMonitor")["entrain"]
    selector = monitor["spec"]["selector"]
    (parts,) = selector["matchExpressions"]
    chosen = {
        name
        for name, pod in pods(PRODUCTION).items()
        if selector["matchLabels"].items() <= pod["metadata"]["labels"].items()
        and pod["metadata"]["labels"][parts["key"]] in parts["values"]
    }

    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert chosen == set(of_kind(PRODUCTION, "Deployment"))
    assert [(end["port"], end["path"]) for end in monitor["spec"]["podMetricsEndpoints"]] == [("internal", "/metrics")]


def test_processes_are_known_to_the_rules_by_the_same_names_as_elsewhere() -> None:
    [endpoint] = of_kind(PRODUCTION, "PodMonitor")["entrain"]["spec"]["podMetricsEndpoints"]
    together, gateway = endpoint["relabelings"]
    labels = [name.removeprefix("__meta_kubernetes_pod_label_") for name in together["sourceLabels"]]
    known = yaml.safe_load((REPOSITORY / "deploy/observability/prometheus.yml").read_text())["scrape_configs"]

    named = set()
    for name in of_kind(PRODUCTION, "Deployment"):
        carried = {
            re.sub(r"[./-]", "_", key): value for key, value in pods(PRODUCTION)[name]["metadata"]["labels"].items()
        }
        job = together["separator"].join(carried[label] for label in labels)
        named.add(gateway["replacement"] if job == gateway["regex"] else job)

    assert together["targetLabel"] == gateway["targetLabel"] == "job"
    assert named == {config["job_name"] for config in known}


def test_the_rules_are_the_operators_too() -> None:
    groups = [group["name"] for group in only("PrometheusRule")["spec"]["groups"]]
    files = [
        yaml.safe_load((REPOSITORY / f"deploy/observability/{name}.yml").read_text())
        for name in ("alerts", "slo_rules")
    ]

    assert groups == [group["name"] for file in files for group in file["groups"]]


def test_a_backup_is_made_every_day_onto_a_volume_that_stays() -> None:
    job, pod = only("CronJob"), pods(PRODUCTION)["backup"]
    (variable,) = container(pod)["env"]
    (volume,) = [volume for volume in pod["spec"]["volumes"] if volume["name"] == "backups"]

    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    assert container(pod)["args"] == ["create", "/backups", "--keep", "14"]
    assert variable["valueFrom"]["secretKeyRef"] == {"name": "backup-owner", "key": "BACKUP_DATABASE_URL"}
    assert "`backup-owner` | `BACKUP_DATABASE_URL`" in (FOLDER / "README.md").read_text()
    assert volume["persistentVolumeClaim"]["claimName"] in of_kind(PRODUCTION, "PersistentVolumeClaim")
    assert pod["spec"]["securityContext"]["fsGroup"] == 10001


def test_staging_needs_no_operator(check: ModuleType) -> None:
    groups = {item["apiVersion"].partition("/")[0] for item in built("staging")}

    assert groups & check.OF_OPERATORS == set()


def test_a_misspelt_field_is_found(check: ModuleType, tmp_path: Path) -> None:
    wrong = yaml.safe_load((FOLDER / "base/namespace.yaml").read_text()) | {"kind": "ServiceAccount", "secretz": []}
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(wrong))
    (tmp_path / "kustomization.yaml").write_text("resources: [wrong.yaml]\n")

    found = list(check.faults(tmp_path))

    assert len(found) == len(check.VERSIONS)
    assert all("secretz" in fault for fault in found)
    assert "not-there.yaml" in "".join(check.faults(folder_that_names(tmp_path / "other", "not-there.yaml")))


def folder_that_names(folder: Path, resource: str) -> Path:
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(f"resources: [{resource}]\n")
    return folder
