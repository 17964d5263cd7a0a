"""Published events: what consumers were promised, and whether it still holds."""

import copy
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from common.contracts.asyncapi import EVENTS, document, schema_of
from common.contracts.billing import SubscriptionChanged
from common.contracts.compatibility import breaks
from common.contracts.event import Event
from common.messaging.envelope import Envelope

REPOSITORY = Path(__file__).resolve().parents[2]
GOLDEN = Path("libs/common/common/contracts/golden")
COMMAND = REPOSITORY / "deploy/setup/contracts.py"

each_event = pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)


def golden(event: type[Event], kind: str) -> Any:
    return json.loads((REPOSITORY / GOLDEN / f"{event.type}.{kind}.json").read_text("utf-8"))


@each_event
def test_an_event_only_grew_by_optional_fields(event: type[Event]) -> None:
    assert breaks(golden(event, "schema"), schema_of(event)) == []


@each_event
def test_the_example_is_a_message_we_read_and_would_send(event: type[Event]) -> None:
    example = golden(event, "example")
    envelope = Envelope.from_json(json.dumps(example))
    fact = event.model_validate(envelope.data)
    assert fact.model_dump(mode="json", by_alias=True, exclude_none=True) == envelope.data
    assert (fact.type, fact.subject, fact.sequence) == (envelope.type, envelope.subject, envelope.sequence)
    assert envelope.source == f"/{fact.owner}"
    assert json.loads(envelope.to_json()) == example


@each_event
def test_an_event_says_when_it_is_emitted_and_what_its_fields_mean(event: type[Event]) -> None:
    assert event.__dict__.get("__doc__")
    schema = schema_of(event)
    for part in (schema, *schema.get("$defs", {}).values()):
        assert [name for name, field in part["properties"].items() if not field.get("description")] == []


@each_event
def test_the_example_obeys_the_published_document(event: type[Event]) -> None:
    everything = document()
    [message] = everything["channels"][event.type]["messages"].values()
    schema = {**message["payload"], "components": everything["components"]}
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    example = golden(event, "example")
    assert list(validator.iter_errors(example)) == []
    for name in schema["required"]:
        broken = {key: value for key, value in example.items() if key != name}
        assert not validator.is_valid(broken), name


@each_event
def test_a_newer_publisher_may_add_what_we_do_not_know(event: type[Event]) -> None:
    example = golden(event, "example")
    newer = {**example, "newattribute": "x", "data": {**example["data"], "newField": {"deep": 1}}}
    envelope = Envelope.from_json(json.dumps(newer))
    assert event.model_validate(envelope.data) == event.model_validate(example["data"])


def test_every_reference_of_the_document_leads_somewhere() -> None:
    everything = document()
    references = list(_references(everything))
    assert "#/components/schemas/GrantedEntitlement" in references
    for reference in references:
        found = everything
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
        assert found


def test_types_say_owner_name_and_version_and_are_unique() -> None:
    types = [event.type for event in EVENTS]
    assert len(set(types)) == len(types)
    for event in EVENTS:
        owner, _, version = event.type.split(".")
        assert event.__module__ == f"common.contracts.{owner}"
        assert version.startswith("v")
    assert {event for event in _subclasses(Event) if event.__module__.startswith("common.")} == set(EVENTS)


BASE: dict[str, Any] = schema_of(SubscriptionChanged)


def changed(**properties: Any) -> dict[str, Any]:
    """The schema of SubscriptionChanged with some properties replaced, or removed where None."""
    schema = copy.deepcopy(BASE)
    for name, value in properties.items():
        if value is None:
            del schema["properties"][name]
        else:
            schema["properties"][name] = value
    return schema


def test_an_optional_field_and_other_words_break_nothing() -> None:
    schema = changed(
        trialEndsAt={"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}], "default": None},
        userId={"type": "string", "title": "Somebody", "description": "who it is about"},
    )
    schema["$defs"]["GrantedEntitlement"]["properties"]["family"] = {"type": "boolean", "default": False}
    assert breaks(BASE, BASE) == []
    assert breaks(BASE, schema) == []


def test_whatever_a_consumer_could_notice_is_named() -> None:
    newly_required = changed(region={"type": "string"})
    newly_required["required"].append("region")
    no_longer_sent = copy.deepcopy(BASE)
    no_longer_sent["required"].remove("plan")
    deep = copy.deepcopy(BASE)
    deep["$defs"]["GrantedEntitlement"]["properties"]["productId"] = {"type": "integer"}
    deeper = copy.deepcopy(BASE)
    deeper["$defs"]["GrantedEntitlement"]["required"] = ["name"]
    cases = {
        "plan: would be gone": changed(plan=None),
        'willRenew: type was "boolean"': changed(willRenew={"type": "string", "default": False}),
        "willRenew: default was false": changed(willRenew={"type": "boolean", "default": True}),
        "plan: enum was": changed(plan={"enum": ["free", "pro", "team"], "type": "string"}),
        "expiresAt: anyOf was": changed(expiresAt={"anyOf": [{"type": "string", "format": "date-time"}]}),
        "expiresAt: format was": changed(
            expiresAt={"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}], "default": None}
        ),
        "region: new and required": newly_required,
        "plan: would be optional": no_longer_sent,
        "entitlements[].productId: type was": deep,
        "entitlements[].productId: would be optional": deeper,
    }
    for expected, proposed in cases.items():
        found = breaks(BASE, proposed)
        assert len(found) == 1, expected
        assert found[0].startswith(expected), found


def contracts(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(COMMAND), *arguments], capture_output=True, text=True, timeout=100, check=False
    )


def test_every_generated_description_is_what_the_code_says() -> None:
    result = contracts("--check")
    assert (result.returncode, result.stderr) == (0, "")


def test_descriptions_are_made_where_missing_and_a_break_is_never_written(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / GOLDEN, tmp_path / GOLDEN)
    published = tmp_path / GOLDEN / f"{SubscriptionChanged.type}.schema.json"
    older = changed(store=None)
    published.write_text(json.dumps(older))
    assert contracts("--root", str(tmp_path)).returncode == 0
    assert json.loads(published.read_text()) == BASE
    assert (tmp_path / "docs/asyncapi.json").read_bytes() == (REPOSITORY / "docs/asyncapi.json").read_bytes()
    assert contracts("--root", str(tmp_path), "--check").returncode == 0
    promised = json.dumps(changed(promised={"type": "string"}))
    published.write_text(promised)
    refused = contracts("--root", str(tmp_path))
    assert refused.returncode == 1
    assert f"{SubscriptionChanged.type}: promised: would be gone" in refused.stderr
    assert published.read_text() == promised


def _references(part: Any) -> Any:
    if isinstance(part, dict):
        if "$ref" in part:
            yield part["$ref"]
        for value in part.values():
            yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)


def _subclasses(kind: type[Event]) -> set[type[Event]]:
    return {found for direct in kind.__subclasses__() for found in {direct, *_subclasses(direct)}}
