"""The published OpenAPI document: complete, true to its own schemas, and made of what the routes declare."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gateway.docs import public_document
from media.catalogue import CATALOGUE
from media.schemas import EXAMPLE_SESSION
from tests.support.intrusion import operations_of

DOCUMENT: dict[str, Any] = json.loads(public_document())
OPERATIONS = operations_of(DOCUMENT)

each_operation = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())


def answers(operation: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The responses by status, those shared looked up."""
    shared = DOCUMENT["components"]["responses"]
    responses = operation["responses"]
    return {
        status: shared[answer["$ref"].rpartition("/")[2]] if "$ref" in answer else answer
        for status, answer in responses.items()
    }


def bodies(operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    described = [("request", operation.get("requestBody", {})), *answers(operation).items()]
    return ((name, media) for name, body in described for media in body.get("content", {}).values())


def examples(media: dict[str, Any]) -> list[Any]:
    return [named["value"] for named in media.get("examples", {}).values()] or [media["example"]]


def check(schema: dict[str, Any], value: Any) -> None:
    Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(value)


@each_operation
def test_every_body_has_an_example_that_its_schema_allows(operation: dict[str, Any]) -> None:
    for name, media in bodies(operation):
        for example in examples(media):
            check(media["schema"], example)
            assert "string" not in json.dumps(example).split('"'), f"{name} has a field without an example"


@each_operation
def test_every_refusal_is_the_envelope_with_codes_of_its_own(operation: dict[str, Any]) -> None:
    refused = {status: answer for status, answer in answers(operation).items() if status >= "4"}
    assert "400" in refused
    for answer in refused.values():
        media = answer["content"]["application/json"]
        codes = media["schema"]["properties"]["code"]["enum"]
        assert codes
        assert {example["code"] for example in examples(media)} == set(codes)
        assert answer["description"]


@each_operation
def test_what_follows_from_a_signature_is_documented(operation: dict[str, Any]) -> None:
    found = answers(operation)
    assert "422" not in found
    assert ("401" in found) == (operation.get("security") != [])
    assert ("413" in found) == ("requestBody" in operation)
    for status, header in (("429", "Retry-After"), ("503", "Retry-After"), ("302", "Location")):
        assert status not in found or found[status]["headers"][header]["required"]


def test_operations_are_named_after_their_address() -> None:
    names = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"(get|put|post|patch|delete)[A-Z][A-Za-z]+", name) for name in names)
    assert {"postSessions", "getSession", "postSessionEnsureAudio", "getMeStruggle"} <= set(names)


def test_links_lead_to_operations_by_what_is_in_the_answer() -> None:
    names = {operation["operationId"] for operation in OPERATIONS.values()}
    links = 0
    for operation in OPERATIONS.values():
        for answer in answers(operation).values():
            for link in answer.get("links", {}).values():
                (media,) = answer["content"].values()
                pointer = link["parameters"]["id"].partition("#")[2]
                assert link["operationId"] in names
                assert len(_at(examples(media)[0], pointer)) > 30, "an id"
                links += 1
    assert links > 10


def _at(value: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value


def test_optional_fields_of_answers_are_absent_and_named_ones_null() -> None:
    session = DOCUMENT["components"]["schemas"]["SessionView"]
    assert {"type": "null"} in session["properties"]["ownerUserId"]["anyOf"]
    assert session["properties"]["goalTag"]["type"] == "string"
    assert "ownerUserId" in session["required"]
    assert "goalTag" not in session["required"]
    assert "schemaVersion" in session["required"]


def test_limits_of_requests_are_told() -> None:
    draft = DOCUMENT["components"]["schemas"]["DraftSession"]["properties"]
    assert (draft["title"]["maxLength"], draft["affirmations"]["maxItems"]) == (200, 60)
    generate = DOCUMENT["components"]["schemas"]["GenerateRequest"]["properties"]
    assert (generate["count"]["minimum"], generate["count"]["maximum"]) == (0, 24)


def test_the_session_of_the_examples_is_in_the_catalogue() -> None:
    assert EXAMPLE_SESSION in {session.id for session in CATALOGUE}
