"""The Kubernetes manifests: complete, closed, and in agreement with the settings and the papers they are read beside.

kubectl builds them; what it builds is looked at. Schemas are checked by `make lint`.
"""

import re
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from billing.settings import BillingSettings
from common import service
from common.messaging import rabbit_consumption
from common.settings import Settings
from gateway.settings import GatewaySettings
from identity.settings import IdentitySettings
from media.settings import MediaSettings
from tests.support.docker_files import REPOSITORY
from tests.support.kubernetes import FOLDER, OVERLAYS, built, container, of_kind, pod_of, pods, variables
from tests.unit.test_compose import reads

README = (FOLDER / "README.md").read_text()
SETTINGS: dict[str, type[Settings]] = {
    "gateway": GatewaySettings,
    "identity": IdentitySettings,
    "billing": BillingSettings,
    "media": MediaSettings,
}
PROCESSES = {"gateway", *(f"{name}-{part}" for name in ("identity", "billing", "media") for part in ("api", "worker"))}
TAG = "unreleased"
STORES_JOBS = {f"{job}-{TAG}" for job in ("database-roles", "broker-definitions")}
SERVICE_JOBS = {f"{job}-{TAG}" for job in ("identity-migrate", "billing-migrate", "media-migrate", "media-seed")}
PORTS = {
    "gateway": {"public": 8787, "internal": 8887},
    **{f"{name}-api": {"internal": 8701 + at} for at, name in enumerate(("identity", "billing", "media"))},
    **{f"{name}-worker": {"internal": 8801 + at} for at, name in enumerate(("identity", "billing", "media"))},
}
NOT_FOR_KUBERNETES = {
    "ENTRAIN_REVISION",  # the image says it itself
    "GATEWAY_PUBLIC_KEYS",  # the gateway is there to be asked
    "GATEWAY_DEVELOPMENT_USER",  # refused in production
    "MEDIA_KOKORO_PATH",  # no image holds what `make voices` fetches
}
STAGES = ["foundation", "broker", "stores", "migrate", "serve", "seed"]

each_overlay = pytest.mark.parametrize("overlay", OVERLAYS)
each_process = pytest.mark.parametrize("process", sorted(PROCESSES | SERVICE_JOBS))


@each_overlay
def test_every_part_of_the_product_is_there(overlay: str) -> None:
    assert set(of_kind(overlay, "Deployment")) == PROCESSES
    assert set(of_kind(overlay, "Job")) == STORES_JOBS | SERVICE_JOBS


@each_overlay
@each_process
def test_a_process_is_given_the_variables_it_reads_and_no_others(overlay: str, process: str) -> None:
    fields = reads(SETTINGS[process.partition("-")[0]])
    settings, secrets = variables(overlay, pods(overlay)[process])
    given = {*settings, *secrets}

    assert given - set().union(*fields.values()) == set()
    unreachable = {field for field, names in fields.items() if not names & (given | NOT_FOR_KUBERNETES)}
    assert unreachable == set()


@each_overlay
@each_process
@pytest.mark.parametrize("complete", [False, True], ids=["needed", "all"])
def test_a_process_starts_on_what_it_is_given(
    overlay: str, process: str, complete: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the secrets that are needed, and with the optional ones too."""
    settings, secrets = variables(overlay, pods(overlay)[process])
    if process.startswith(("media", "billing")):  # one of two, or the other half of a pair
        secrets |= {name: (of, True) for name, (of, _) in secrets.items() if name in ALSO_NEEDED}
    given = settings | {name: stand_in(name) for name, (_, needed) in secrets.items() if needed or complete}
    kind = SETTINGS[process.partition("-")[0]]
    for name in set().union(*reads(kind).values()):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    assert kind.load().entrain_env == "production"


ALSO_NEEDED = {"CLOUDFRONT_PRIVATE_KEY", "REVENUECAT_WEBHOOK_SECRETS"}


def stand_in(secret: str) -> str:
    """A value of the right form."""
    if secret in ("GATEWAY_SIGNING_KEY", "GATEWAY_ROTATION_KEY", "CLOUDFRONT_PRIVATE_KEY"):
        key = ec.generate_private_key(ec.SECP256R1())
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    if secret.endswith("_URL"):
        return "valkey://store:6379/0" if secret.startswith("RATE") else "postgresql://user:password@host/database"
    return "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" if secret.startswith("CLERK_WEBHOOK") else "a" * 32


@each_overlay
@each_process
def test_no_secret_stands_among_the_settings(overlay: str, process: str) -> None:
    settings, _ = variables(overlay, pods(overlay)[process])
    kind = SETTINGS[process.partition("-")[0]]
    names = reads(kind)
    secret = {name for field, info in kind.model_fields.items() if "Secret" in str(info.annotation)
              for name in names[field]}  # fmt: skip

    assert secret
    assert set(settings) & secret == set()
    assert of_kind(overlay, "Secret") == {}


@each_overlay
def test_the_papers_name_every_secret_and_whether_it_is_needed(overlay: str) -> None:
    referred = {
        (secret, name, needed)
        for process in PROCESSES | SERVICE_JOBS
        for name, (secret, needed) in variables(overlay, pods(overlay)[process])[1].items()
    }
    rows = re.findall(r"^\| `([a-z]+-secrets)` \| (.+?) \| (.*?) \|$", README, re.MULTILINE)
    written = {
        (secret, name, needed)
        for secret, *cells in rows
        for needed, cell in zip((True, False), cells, strict=True)
        for name in re.findall(r"`([A-Z_]+)`", cell)
    }

    assert written == referred


@each_overlay
def test_the_papers_name_what_the_stores_jobs_are_given(overlay: str) -> None:
    script = text_of("rabbitmq/apply_definitions.py")
    for job, secret, demanded in (
        ("database-roles", "database-owner", re.findall(r"getenv \w+ (\w+)", text_of("postgres/passwords.sql"))),
        (
            "broker-definitions",
            "broker-owner",
            re.findall(r"[A-Z]+_RABBITMQ_PASSWORD", script),
        ),
    ):
        (row,) = re.findall(rf"^\| `{secret}` \| (.+?) \|", README, re.MULTILINE)
        assert len(demanded) >= 4
        assert set(demanded) <= set(re.findall(r"`([A-Z_]+)`", row))
        assert {"secretRef": {"name": secret}} in container(pods(overlay)[f"{job}-{TAG}"])["envFrom"]


def text_of(file: str) -> str:
    return (REPOSITORY / "deploy" / file).read_text()


@each_overlay
def test_every_container_is_hardened(overlay: str) -> None:
    for name, pod in pods(overlay).items():
        spec, inside = pod["spec"], container(pod)["securityContext"]
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert (spec["securityContext"]["runAsUser"], spec["securityContext"]["runAsGroup"]) == (10001, 10001), name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, name
        assert inside["readOnlyRootFilesystem"] is True, name
        assert inside["allowPrivilegeEscalation"] is False, name
        assert inside["capabilities"] == {"drop": ["ALL"]}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), name
        mounts = {mount["name"]: mount for mount in container(pod)["volumeMounts"]}
        assert mounts.pop("tmp")["mountPath"] == "/tmp"
        writable = {mount for mount, rule in mounts.items() if not rule.get("readOnly")}
        assert writable == ({"backups"} if name == "backup" else set()), name
        assert not any("hostPath" in volume for volume in spec["volumes"]), name


@each_overlay
def test_every_container_asks_for_what_it_needs_and_has_a_bound(overlay: str) -> None:
    for name, pod in pods(overlay).items():
        resources = container(pod)["resources"]
        assert {"cpu", "memory"} <= set(resources["requests"]), name
        assert "memory" in resources["limits"], name


@each_overlay
def test_every_image_has_a_tag_that_the_overlay_gave_it(overlay: str) -> None:
    for name, pod in pods(overlay).items():
        repository, _, tag = container(pod)["image"].rpartition(":")
        assert repository, name
        assert tag not in ("latest", ""), name
        if repository != "postgres":
            assert tag == TAG, name
            expected = "identity" if name.startswith("broker-definitions") else name.partition("-")[0]
            assert repository.endswith(f"/entrain-{expected}"), name


@each_overlay
def test_every_process_listens_where_it_is_asked_how_it_is(overlay: str) -> None:
    for name, deployment in of_kind(overlay, "Deployment").items():
        process = container(pod_of(deployment))
        assert {port["name"]: port["containerPort"] for port in process["ports"]} == PORTS[name]
        assert process["args"][:3] == ["worker" if name.endswith("worker") else "api", "--host", "0.0.0.0"]
        for probe, path in (("startup", "live"), ("readiness", "ready"), ("liveness", "live")):
            assert process[f"{probe}Probe"]["httpGet"] == {"path": f"/health/{path}", "port": "internal"}, name
        patience = process["startupProbe"]["periodSeconds"] * process["startupProbe"]["failureThreshold"]
        assert patience >= 60, name


@each_overlay
def test_a_process_has_more_time_to_leave_than_it_takes(overlay: str) -> None:
    leaving = service.LEAVE_SECONDS + service._LAST_SECONDS + service.DRAIN_SECONDS
    taking_no_more = rabbit_consumption.DRAIN_SECONDS + 3 * rabbit_consumption.CLOSE_SECONDS
    for name, deployment in of_kind(overlay, "Deployment").items():
        spec = pod_of(deployment)["spec"]
        pause = container(pod_of(deployment))["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert spec["terminationGracePeriodSeconds"] > pause + leaving + taking_no_more, name


@each_overlay
def test_a_deployment_is_replaced_without_a_gap_and_survives_the_loss_of_a_node(overlay: str) -> None:
    budgets = {str(item["spec"]["selector"]): item["spec"] for item in of_kind(overlay, "PodDisruptionBudget").values()}
    for name, deployment in of_kind(overlay, "Deployment").items():
        spec, pod = deployment["spec"], deployment["spec"]["template"]["spec"]
        assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}, name
        assert budgets[str(spec["selector"])]["maxUnavailable"] == 1, name
        assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
        assert pod["topologySpreadConstraints"][0]["topologyKey"] == "topology.kubernetes.io/zone"
        preferred = pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
        assert preferred[0]["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"


@each_overlay
def test_how_many_there_are_is_said_in_one_place(overlay: str) -> None:
    """A number in the manifest would undo the autoscaler's at every rollout."""
    scaled = {item["spec"]["scaleTargetRef"]["name"]: least_of(item)
              for item in of_kind(overlay, "HorizontalPodAutoscaler", "ScaledObject").values()}  # fmt: skip
    fixed = {name: item["spec"]["replicas"] for name, item in of_kind(overlay, "Deployment").items()
             if "replicas" in item["spec"]}  # fmt: skip

    assert set(scaled) | set(fixed) == PROCESSES
    assert set(scaled) & set(fixed) == set()
    assert {"gateway", "identity-api", "billing-api", "media-api"} <= set(scaled)
    assert set((scaled | fixed).values()) == {2 if overlay == "production" else 1}


def least_of(scaler: dict[str, Any]) -> int:
    return int(scaler["spec"].get("minReplicas") or scaler["spec"]["minReplicaCount"])


@each_overlay
def test_services_lead_to_the_pods_they_mean(overlay: str) -> None:
    for name, found in of_kind(overlay, "Service").items():
        selector = found["spec"]["selector"].items()
        meant = {owner: pod for owner, pod in pods(overlay).items() if selector <= pod["metadata"]["labels"].items()}
        assert list(meant) == [name]
        listening = {port["name"]: port["containerPort"] for port in container(meant[name])["ports"]}
        assert {port["targetPort"]: port["port"] for port in found["spec"]["ports"]} == listening
        assert found["spec"].get("type", "ClusterIP") == "ClusterIP"
    settings = of_kind(overlay, "ConfigMap")
    (gateway,) = [item["data"] for name, item in settings.items() if name.startswith("gateway-settings")]
    for service_name, port in (("identity", 8701), ("billing", 8702), ("media", 8703)):
        assert gateway[f"{service_name.upper()}_URL"] == f"http://{service_name}-api:{port}"


@each_overlay
def test_the_only_way_in_is_the_gateway_behind_tls(overlay: str) -> None:
    (ingress,) = of_kind(overlay, "Ingress").values()
    (rule,) = ingress["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    (settings,) = [item["data"] for name, item in of_kind(overlay, "ConfigMap").items() if name.startswith("gateway-")]

    assert path["backend"]["service"] == {"name": "gateway", "port": {"name": "public"}}
    assert [host for tls in ingress["spec"]["tls"] for host in tls["hosts"]] == [rule["host"]]
    assert settings["PUBLIC_URL"] == f"https://{rule['host']}"


@each_overlay
def test_every_object_has_its_place_in_the_order(overlay: str) -> None:
    found = {item["metadata"]["labels"]["entrain/stage"] for item in built(overlay)}

    assert found <= set(STAGES)
    documented = re.findall(r"-l entrain/stage=(\w+)", README)
    assert documented[: len(STAGES)] == STAGES
    for name, item in of_kind(overlay, "Job").items():
        assert item["spec"]["ttlSecondsAfterFinished"] > 0, name
        assert item["spec"]["template"]["spec"]["restartPolicy"] == "Never", name


@each_overlay
def test_everything_is_in_one_namespace_that_admits_no_privileged_pod(overlay: str) -> None:
    (namespace,) = of_kind(overlay, "Namespace").values()

    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    inside = {item["metadata"].get("namespace") for item in built(overlay) if item["kind"] != "Namespace"}
    assert inside == {namespace["metadata"]["name"]}


@each_overlay
def test_the_stores_jobs_run_the_files_that_are_tested(overlay: str) -> None:
    mounted = {"database-roles": "postgres", "broker-definitions": "rabbitmq"}
    for name, folder in mounted.items():
        pod = pods(overlay)[f"{name}-{TAG}"]
        (volume,) = [volume for volume in pod["spec"]["volumes"] if "configMap" in volume]
        files = of_kind(overlay, "ConfigMap")[volume["configMap"]["name"]]["data"]
        words = [*container(pod)["command"], *container(pod).get("args", [])]
        for path in (Path(word) for word in words if word.startswith("/")):
            assert files[path.name] == (REPOSITORY / "deploy" / folder / path.name).read_text()
