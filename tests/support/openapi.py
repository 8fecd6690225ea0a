"""The OpenAPI document of the combined application, as tests walk over it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

from telemed.cli import DEPLOYABLES
from telemed.kernel.http.app import describe

METHODS = ("get", "put", "post", "patch", "delete")


@dataclass(frozen=True)
class Operation:
    """One operation of the document."""

    method: str
    path: str
    spec: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def is_write(self) -> bool:
        return self.method != "GET"

    @property
    def body_schema(self) -> dict[str, Any] | None:
        """Give the schema of the JSON body, if the operation takes one."""
        content = self.spec.get("requestBody", {}).get("content", {})
        return resolve(content["application/json"]["schema"]) if "application/json" in content else None

    def parameters(self, place: str) -> list[dict[str, Any]]:
        """Give the parameters in path, query or header."""
        return [parameter for parameter in self.spec.get("parameters", []) if parameter["in"] == place]


@cache
def document() -> dict[str, Any]:
    """Render the document of the combined application."""
    # `describe` runs an event loop of its own, and the caller may be inside one.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(describe, DEPLOYABLES["all"]).result()


@cache
def operations() -> dict[str, Operation]:
    """Give every operation of the document by its name, such as ``GET /auth/me``."""
    found = [
        Operation(method.upper(), path, item[method])
        for path, item in document()["paths"].items()
        for method in METHODS
        if method in item
    ]
    return {operation.name: operation for operation in found}


def resolve(schema: dict[str, Any]) -> dict[str, Any]:
    """Follow references until there is none."""
    while "$ref" in schema:
        schema = document()["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
    return schema


def variants(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give every schema that a value may follow, references and choices resolved."""
    schema = resolve(schema)
    choices = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
    if choices is None:
        yield schema
        return
    for choice in choices:
        yield from variants(choice)
