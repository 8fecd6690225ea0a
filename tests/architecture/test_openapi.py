"""The OpenAPI document: complete, in step with the code, and the same alone as together."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
from tests.support.api import ServedRoute

from telemed.cli import DEPLOYABLES
from telemed.kernel.http.app import describe
from telemed.kernel.http.openapi import operations

WRITTEN = Path(__file__).parents[2] / "docs" / "openapi.json"


def test_the_written_document_is_what_the_code_says(document: dict[str, Any]) -> None:
    """`make openapi` writes it; whoever changes the API shows the change."""
    assert WRITTEN.exists(), "make openapi"
    assert json.loads(WRITTEN.read_text()) == json.loads(json.dumps(document)), "make openapi"


def test_the_services_alone_add_up_to_the_combined_application(document: dict[str, Any]) -> None:
    """What runs on a laptop is what runs in the cluster."""
    alone = [describe(services) for name, services in DEPLOYABLES.items() if name != "all"]
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    for part in alone:
        assert not set(paths) & set(part["paths"])
        paths |= part["paths"]
        for name, schema in part["components"]["schemas"].items():
            assert schemas.setdefault(name, schema) == schema, name
    assert paths == document["paths"]
    assert schemas == document["components"]["schemas"]


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    """A generator of clients stumbles over the first one that does not."""
    schemas = document["components"]["schemas"]
    assert not [name for name in references(document) if name.rpartition("/")[2] not in schemas]


def test_every_schema_is_used(document: dict[str, Any]) -> None:
    """Nothing that no operation takes or gives."""
    used = {name.rpartition("/")[2] for name in references(document)}
    assert set(document["components"]["schemas"]) <= used


def test_every_property_is_described(document: dict[str, Any]) -> None:
    """A client developer asks nobody what a field means."""
    silent = [
        f"{name}.{field}"
        for name, schema in document["components"]["schemas"].items()
        for field, definition in schema.get("properties", {}).items()
        if not definition.get("description")
    ]
    assert not silent, silent


def test_every_parameter_is_described(document: dict[str, Any]) -> None:
    """The same for what stands in the address and the headers."""
    silent = [
        f"{operation['operationId']}: {parameter['name']}"
        for operation in operations(document)
        for parameter in operation.get("parameters", [])
        if not (parameter.get("description") or parameter["schema"].get("description"))
    ]
    assert not silent, silent


def test_every_object_has_an_example_that_it_accepts(document: dict[str, Any]) -> None:
    """What a reader copies works; an example that has gone stale is worse than none."""
    wrong = []
    for name, schema in document["components"]["schemas"].items():
        if schema.get("type") != "object":
            continue
        examples = [schema["example"]] if "example" in schema else list(schema.get("examples", []))
        if not examples and "FieldError" not in name:
            wrong.append(f"{name} has no example")
        validator = jsonschema_rs.validator_for(schema | {"components": document["components"]}, validate_formats=True)
        wrong += [f"{name}: {error.message}" for example in examples for error in validator.iter_errors(example)]
    assert not wrong, "\n".join(wrong)


def test_every_body_and_reply_has_a_schema(served: ServedRoute, document: dict[str, Any]) -> None:
    """No operation gives "anything"; those that give nothing say 204."""
    (method,) = {name.lower() for name in served.api.methods or ()}
    operation = document["paths"][served.api.path_format][method]
    successes = {code: response for code, response in operation["responses"].items() if code < "300"}
    assert len(successes) >= 1
    for code, response in successes.items():
        assert (code == "204") == ("content" not in response)
        for content in response.get("content", {}).values():
            assert content.get("schema"), served.name
    for content in operation.get("requestBody", {}).get("content", {}).values():
        assert list(references(content["schema"])), served.name


def test_operations_have_names_of_their_own(document: dict[str, Any]) -> None:
    """Generated clients name their functions after them."""
    names = [operation["operationId"] for operation in operations(document)]
    assert len(names) == len(set(names))


def test_protected_operations_say_so(served: ServedRoute, document: dict[str, Any]) -> None:
    """The lock in Swagger UI stands where a token is needed."""
    (method,) = {name.lower() for name in served.api.methods or ()}
    (rule,) = served.rules
    if rule.roles:
        assert document["paths"][served.api.path_format][method].get("security")


def references(node: Any) -> Iterator[str]:
    """Walk over every `$ref`."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)
