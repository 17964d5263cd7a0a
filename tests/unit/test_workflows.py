"""What GitHub runs: pinned, with few rights, and made of commands and files that are there."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.aws_template import stack
from tests.support.docker_files import stages

REPOSITORY = Path(__file__).resolve().parents[2]
WORKFLOWS: dict[str, dict[Any, Any]] = {
    path.stem: yaml.safe_load(path.read_text()) for path in sorted((REPOSITORY / ".github/workflows").glob("*.yml"))
}
JOBS = [(name, job, WORKFLOWS[name]["jobs"][job]) for name in WORKFLOWS for job in WORKFLOWS[name]["jobs"]]
ROOTS = ("deploy/", ".ci/", "services/", "libs/", "tests/", "docs/")
MAY_WRITE = {("release", "notes"): {"contents"}, ("images", "build"): {"id-token"}, ("deploy", "deploy"): {"id-token"}}
each_job = pytest.mark.parametrize(
    "workflow, name, job", JOBS, ids=[f"{workflow} {name}" for workflow, name, _ in JOBS]
)


def used(job: dict[str, Any]) -> list[str]:
    return [part["uses"] for part in (job, *job.get("steps", ())) if "uses" in part]


def commands(job: dict[str, Any]) -> str:
    return "\n".join(step["run"] for step in job.get("steps", ()) if "run" in step)


def test_every_purpose_has_its_workflow() -> None:
    assert set(WORKFLOWS) == {"ci", "images", "deploy", "nightly", "scan", "release"}


@each_job
def test_an_action_is_pinned_by_the_whole_hash_of_a_commit_whose_version_is_told(
    workflow: str, name: str, job: dict[str, Any]
) -> None:
    text = (REPOSITORY / f".github/workflows/{workflow}.yml").read_text()
    for action in used(job):
        if action.startswith("./"):
            assert (REPOSITORY / action).is_file()
        else:
            assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", action)
            assert re.search(rf"{re.escape(action)} # v\d+\.\d+\.\d+$", text, re.MULTILINE)


@each_job
def test_a_job_has_the_rights_it_needs_and_an_end(workflow: str, name: str, job: dict[str, Any]) -> None:
    assert WORKFLOWS[workflow]["permissions"] == {}, "a job without rights of its own has none"
    rights = job["permissions"]
    assert {right for right, kind in rights.items() if kind == "write"} == MAY_WRITE.get((workflow, name), set())
    assert set(rights) <= {"contents", "id-token"}
    assert "uses" in job or job["timeout-minutes"] <= 60


@each_job
def test_no_text_of_others_gets_into_a_command(workflow: str, name: str, job: dict[str, Any]) -> None:
    assert "${{" not in commands(job), "through `env`, where it stays text"
    for step in job.get("steps", ()):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@each_job
def test_what_a_job_runs_is_there(workflow: str, name: str, job: dict[str, Any]) -> None:
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)\b", commands(job))) <= targets
    told = f"{commands(job)}\n{' '.join(job.get('env', {}).values())}"
    paths = [word for word in re.split(r"[\s\"']", re.sub(r"\$\{\{.*?\}\}", "*", told)) if word.startswith(ROOTS)]
    assert [path for path in paths if not list(REPOSITORY.glob(path))] == []


def test_the_check_is_the_one_that_everybody_runs() -> None:
    assert commands(WORKFLOWS["ci"]["jobs"]["check"]).splitlines()[-1] == ".ci/run"
    assert WORKFLOWS["images"]["jobs"]["build"]["needs"] == "check"


def test_every_image_that_is_deployed_is_built_and_there_is_a_place_for_it() -> None:
    build = WORKFLOWS["images"]["jobs"]["build"]
    images = set(build["strategy"]["matrix"]["image"])
    assert images <= set(stages())
    named = {f"entrain-{image}" for image in images}
    release = stack("release", Repository="entrain/backend")
    registries = release.of_type("AWS::ECR::Repository")
    assert {one["RepositoryName"] for one in registries.values()} == named
    for overlay in ("production", "staging"):
        text = (REPOSITORY / f"deploy/kubernetes/overlays/{overlay}/kustomization.yaml").read_text()
        wanted = {one["name"] for one in yaml.safe_load(text)["images"] if "newName" in one}
        assert wanted <= named
    [role] = release.of_type("AWS::IAM::Role").values()
    statements = role["Policies"][0]["PolicyDocument"]["Statement"]
    [push] = [one for one in statements if one.get("Sid") == "PushImages"]
    assert push["Resource"] == [f"{name}.Arn" for name in registries]
    assert "--provenance mode=max" in commands(build)


def test_the_role_for_aws_is_taken_on_main_alone() -> None:
    """Its trust names the branch; a workflow that others can start elsewhere would only be refused there."""
    takers = {name for name, job, one in JOBS if "id-token" in one["permissions"]}
    assert takers == {"images", "deploy"}
    started_by = {name: set(WORKFLOWS[name][True]) for name in takers}  # YAML reads `on` as true
    assert started_by == {"images": {"push"}, "deploy": {"workflow_dispatch"}}
    assert WORKFLOWS["images"][True]["push"] == {"branches": ["main"]}
    assert all("environment" not in one for _, _, one in JOBS), "it would change what the token says"


def test_tables_come_before_processes_and_what_does_not_answer_goes_back() -> None:
    steps = WORKFLOWS["deploy"]["jobs"]["deploy"]["steps"]
    names = [step["name"] for step in steps if "name" in step]
    order = ["settings and policies", "tables and queues", "the processes", "smoke test", "back to those before"]
    assert [name for name in names if name in order] == order
    [back] = [step for step in steps if step.get("name") == "back to those before"]
    assert back["if"].startswith("failure()")
    [serve] = [step for step in steps if step.get("name") == "the processes"]
    assert serve["run"].index("> before") < serve["run"].index("kubectl apply")


def test_what_goes_back_is_what_was_there_before(tmp_path: Path) -> None:
    """The step itself, with a kubectl that writes down what it is asked."""
    [back] = [
        step for step in WORKFLOWS["deploy"]["jobs"]["deploy"]["steps"] if step.get("name") == "back to those before"
    ]
    (tmp_path / "kubectl").write_text('#!/bin/sh\necho "$@" >> asked\n')
    (tmp_path / "kubectl").chmod(0o700)
    shell = ["bash", "-e", "-c", back["run"]]
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}

    first = subprocess.run(shell, cwd=tmp_path, env=environment, check=False)
    (tmp_path / "before").write_text("gateway 7\nmedia-api 12\n")
    later = subprocess.run(shell, cwd=tmp_path, env=environment, check=False)

    assert (first.returncode, later.returncode) == (1, 0)
    assert (tmp_path / "asked").read_text().splitlines()[:2] == [
        "rollout undo deployment/gateway --to-revision 7",
        "rollout undo deployment/media-api --to-revision 12",
    ]
