"""From what a route declares to what its document says."""

from typing import Annotated, Any, ClassVar

import pytest
from fastapi import APIRouter, FastAPI
from pydantic import Field, TypeAdapter, ValidationError

from common.auth import UserId
from common.errors import Conflict, NotFound, RateLimited
from common.web.app import WireModel, WireRoute, create_app
from common.web.examples import example_of
from common.web.numbers import WHOLE
from common.web.openapi import leads_to, raw_body, refusals, with_refusals


class Lost(NotFound):
    """The parcel is lost.

    Which is nobody's business outside.
    """

    code = "LOST"


class Order(WireModel):
    nullable: ClassVar[frozenset[str]] = frozenset({"note"})

    pieces: Annotated[int, Field(strict=True, ge=1, le=9, examples=[2]), WHOLE]
    coupon: str | None = None
    note: str | None = None


@pytest.fixture
def paths() -> dict[str, Any]:
    router = APIRouter(route_class=WireRoute)

    @router.post("/orders", responses={200: leads_to(getOrder="/pieces"), **refusals(Conflict)})
    async def place(order: Order) -> Order:
        return order

    @router.get("/orders/{id}", responses=refusals(NotFound, Lost))
    async def order(id: str, user: UserId) -> Order:
        raise NotFound(f"{user} has no {id}")

    @router.post("/calls", openapi_extra=raw_body(Order))
    async def calls() -> None: ...

    app: FastAPI = create_app("shop", title="Shop")
    app.include_router(router)
    found: dict[str, Any] = app.openapi()["paths"]
    return found


def test_answers_follow_from_the_signature_and_what_is_declared(paths: dict[str, Any]) -> None:
    assert list(paths["/orders"]["post"]["responses"]) == ["200", "400", "409", "413", "503"]
    assert list(paths["/orders/{id}"]["get"]["responses"]) == ["200", "400", "401", "404", "503"]
    assert list(paths["/calls"]["post"]["responses"]) == ["200", "400", "413", "503"]
    assert paths["/calls"]["post"]["requestBody"]["content"]["application/json"]["example"] == {"pieces": 2}
    assert paths["/orders/{id}"]["get"]["operationId"] == "getOrder"
    assert paths["/orders"]["post"]["responses"]["200"]["links"]["getOrder"]["parameters"] == {
        "id": "$response.body#/pieces"
    }


def test_one_status_tells_of_all_its_errors(paths: dict[str, Any]) -> None:
    missing = paths["/orders/{id}"]["get"]["responses"]["404"]
    media = missing["content"]["application/json"]
    assert media["schema"]["properties"]["code"]["enum"] == ["LOST", "NOT_FOUND"]
    assert media["examples"]["Lost"]["value"] == {"code": "LOST", "message": "The parcel is lost."}
    assert missing["description"].endswith("The parcel is lost.")


def test_errors_are_added_once_with_their_headers() -> None:
    responses = with_refusals(refusals(RateLimited), [RateLimited])
    assert len(responses["429"]["content"]["application/json"]["examples"]) == 1
    assert responses["429"]["headers"]["Retry-After"]["required"]


def test_an_answer_says_what_is_absent_and_what_is_null() -> None:
    described = Order.model_json_schema(mode="serialization")
    assert described["required"] == ["pieces", "note"]
    assert described["properties"]["coupon"] == {"type": "string"}
    assert {"type": "null"} in described["properties"]["note"]["anyOf"]
    assert {"type": "null"} in Order.model_json_schema()["properties"]["coupon"]["anyOf"]


@pytest.mark.parametrize(
    "schema, example",
    [
        ({"type": "string"}, "string"),
        ({"type": "integer", "minimum": 3.0}, 3),
        ({"enum": ["b", "a"]}, "b"),
        ({"const": 3}, 3),
        ({"anyOf": [{"type": "boolean"}, {"type": "null"}]}, True),
        ({"type": "array", "items": {"type": "string", "examples": ["x"]}}, ["x"]),
        ({"$ref": "#/components/schemas/Named"}, {"must": 1, "shown": "x"}),
    ],
)
def test_examples_are_composed_of_those_of_the_parts(schema: dict[str, Any], example: Any) -> None:
    named = {
        "type": "object",
        "required": ["must"],
        "properties": {
            "must": {"type": "number"},
            "shown": {"anyOf": [{"type": "string", "examples": ["x"]}, {"type": "null"}]},
            "left_out": {"type": "string"},
        },
    }
    assert example_of(schema, {"Named": named}) == example


@pytest.mark.parametrize("sent, taken", [(3, 3), (3.0, 3)])
def test_whole_numbers_are_taken_as_json_knows_them(sent: Any, taken: int) -> None:
    assert Order.model_validate({"pieces": sent}).pieces == taken


@pytest.mark.parametrize("sent", ["3", True, 3.5, 0.0, 10.0, None, float("inf")])
def test_anything_else_is_no_whole_number_within_limits(sent: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Order).validate_python({"pieces": sent})
