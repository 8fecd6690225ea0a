"""The OpenAPI document: FastAPI's own, plus what every operation has in common."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from telemed.kernel.http.deadlines import HEADER
from telemed.kernel.problems import FieldError, Problem, component

DESCRIPTION = """\
Patients find a doctor's open slot, book it, meet the doctor and leave with a prescription.

* Instants are RFC 3339 in UTC, ids are UUIDs, money is in minor units of its currency.
* Every error is an RFC 9457 `application/problem+json` document; programs compare its `type`.
* Send an `Idempotency-Key` with every write. The same key with the same body gives the same reply, marked
  `Idempotency-Replayed: true`; that is also how to find out what became of a request whose reply never came.
* Send the `X-Consistency-Token` of a reply with your next requests (browsers do, by cookie), and you read what you
  have written. A reply with an `Age` may lack what happened in those last seconds: the primary database is away.
* Requests end at the server's own deadline, or at yours if you send an earlier one as `X-Request-Deadline`: with 504
  `deadline-exceeded` if nothing was done, with 503 `outcome-unknown` if that cannot be said.
* In an overload 503 `overloaded` comes at once, with `Retry-After`; bookings and visits are refused last.
* Lists come in pages: pass `next_cursor` as `cursor`.
"""
_COMMON_HEADERS = {
    "X-Request-ID": {"description": "Id of this request, yours if you sent one.", "schema": {"type": "string"}},
    "X-Consistency-Token": {
        "description": "After a write, where replicas are in use: send it with what you read next.",
        "schema": {"type": "string"},
    },
}
# Read at the edge, before there is a route that could declare it.
_DEADLINE = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "When you will have stopped waiting: an RFC 3339 instant or Unix seconds. Work for you ends then.",
    "schema": {"type": "string", "maxLength": 64, "examples": ["2026-11-23T09:00:05Z", "1795424405.5"]},
}
_METHODS = ("get", "put", "post", "delete", "patch")


def openapi_document(app: FastAPI) -> dict[str, Any]:
    """Render the document of the application."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=DESCRIPTION,
        routes=app.routes,
        separate_input_output_schemas=False,
    )
    schemas: dict[str, Any] = document.setdefault("components", {}).setdefault("schemas", {})
    # FastAPI's own shape of a validation error is never sent.
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    _add_problems(document, schemas)
    _restore_nulls(schemas)
    _add_page_examples(schemas)
    _describe_places(document)
    for operation in operations(document):
        for response in operation["responses"].values():
            response.setdefault("headers", {}).update(_COMMON_HEADERS)
        operation.setdefault("parameters", []).append(_DEADLINE)
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    return document


def operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Walk over every operation of the document."""
    for path in document["paths"].values():
        for method in _METHODS:
            if method in path:
                yield path[method]


def _add_problems(document: dict[str, Any], schemas: dict[str, Any]) -> None:
    wanted = set(_references(document["paths"]))
    for kind in all_problems():
        if kind.__name__ in wanted:
            schemas[kind.__name__] = component(kind)
    if "InvalidRequest" in wanted:
        schemas["FieldError"] = FieldError.model_json_schema()


def _restore_nulls(schemas: dict[str, Any]) -> None:
    """Put the nulls back into examples, which FastAPI strips of them; a member that is required is shown."""
    for schema in schemas.values():
        example = schema.get("example")
        if isinstance(example, dict):
            for name in schema.get("required", []):
                if {"type": "null"} in schema["properties"][name].get("anyOf", []):
                    example.setdefault(name, None)


def _add_page_examples(schemas: dict[str, Any]) -> None:
    """Show each kind of list as a last page of one item: its items' example, or theirs of its own."""
    for schema in schemas.values():
        items = schema.get("properties", {}).get("items", {}).get("items", {}).get("$ref")
        if items is None or "example" in schema:
            continue
        item = schemas[items.rpartition("/")[2]]
        if "example" in item:
            page: dict[str, Any] = {"items": [item["example"]]}
            schema["example"] = page | ({"next_cursor": None} if "next_cursor" in schema["properties"] else {})


def _describe_places(document: dict[str, Any]) -> None:
    """Describe the parameters that mean the same in every operation."""
    for path, operation in (
        (path, operation) for path, item in document["paths"].items() for operation in item.values()
    ):
        for parameter in operation.get("parameters", []):
            if parameter["name"] == "cursor":
                parameter.setdefault("description", "`next_cursor` of the page before.")
            elif parameter["in"] == "path":
                thing = parameter["name"].removesuffix("_id") if parameter["name"] != "id" else path.split("/")[1]
                parameter.setdefault("description", f"Id of the {thing}.")


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        reference = node.get("$ref")
        if isinstance(reference, str):
            yield reference.rsplit("/", 1)[-1]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def all_problems(kind: type[Problem] = Problem) -> Iterator[type[Problem]]:
    """Walk over every kind of problem that is known to this process."""
    for sub in kind.__subclasses__():
        yield sub
        yield from all_problems(sub)
