"""Whatever is sent, the answer is a problem of the 4xx kind, at once, and the next good request works.

The fields are taken from the OpenAPI document: a new field or operation is covered by being there.
"""

import asyncio
import base64
import copy
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from tests.support.openapi import Operation, operations, resolve, variants
from tests.support.people import Caller
from tests.support.scenes import SCENES, Scene, Scenes

from telemed.kernel.ids import uuid7

ANSWERS_WITHIN_SECONDS = 10.0  # far above what the slowest hostile body takes, far below a hang
WRITES = sorted(operation.name for operation in operations().values() if operation.is_write)
WITH_BODY = sorted(operation.name for operation in operations().values() if operation.body_schema is not None)
WITH_QUERY = sorted(operation.name for operation in operations().values() if operation.parameters("query"))
WITH_PATH = sorted(operation.name for operation in operations().values() if operation.parameters("path"))

USED_UP = {401, 404, 409, 410}  # what is answered when an earlier request has changed the scene
DEEP = 10_000
# JSON texts that no field of any kind takes.
POISON = {
    "NUL": r'"a\u0000b"',
    "a bell": r'"a\u0007b"',
    "a terminal's escape": r'"\u001b[31mred"',
    "half a surrogate pair": r'"\ud800"',
    "the other half": r'"x\udfffy"',
    "halves the wrong way round": r'"\udc00\ud800"',
    "10 MB of text": '"' + "a" * 10_000_000 + '"',
    "200 KB of text": '"' + "a" * 200_000 + '"',
    "200 KB of nothing visible": '"' + " " * 200_000 + '"',
    "deep lists": "[" * DEEP + "]" * DEEP,
    "deep objects": '{"a":' * DEEP + "1" + "}" * DEEP,
    "not a number": "NaN",
    "infinity": "Infinity",
    "minus infinity": "-Infinity",
    "a float beyond floats": "1e999",
    "a float": "1.5",
    "an integer beyond Postgres": str(2**31),
    "an integer beyond 64 bits": str(2**63),
    "a negative integer": "-1",
    "an integer beyond Python": "9" * 5_000,
    "a name twice": '{"a": 1, "a": 1}',
    "a truth": "true",
    "a raw line break": '"a\nb"',
}
# JSON values of every kind; a field refuses those of the kinds that its schema does not name.
KINDS: dict[str, str] = {
    "null": "null",
    "boolean": "false",
    "integer": "0",
    "string": '"x"',
    "array": "[]",
    "object": "{}",
}
# Texts that some field may rightly take; nothing may break on them.
ODD_TEXTS = [
    "",
    " ",
    "\u200b",
    "\ufeff",
    "\u202eoverride",
    "مرحبا بكم",
    "👩‍⚕️" * 20,
    "e" + "\u0301" * 60,
    "\uffff",
    "\U0010ffff",
    "'; DROP TABLE auth.users; --",
    "%00%ff${jndi:ldap://x}{{7*7}}",
    "9999-12-31T23:59:59.999999Z",
    "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00+23:59",
    "2026-12-31T23:59:60Z",
    "2026-12-31T24:00:00Z",
    "2026-02-30",
    "9999-12-31",
    "0001-01-01",
    "٢٠٢٦-١٢-٠١",
    "1",
    "-0",
    "1e400",
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "../../etc/passwd",
    "a@" + "b" * 60 + ".example",
    "@",
    "ＡＤＭＩＮ",
]
BODIES = {
    "nothing": b"",
    "half an object": b'{"',
    "a null": b"null",
    "a list": b"[]",
    "a text": b'"x"',
    "a number": b"1",
    "an empty object": b"{}",
    "two objects": b"{}{}",
    "not UTF-8": b'{"a": "\xff\xfe"}',
    "an overlong encoding": b'{"a": "\xc0\x80"}',
    "a surrogate in UTF-8": b'{"a": "\xed\xa0\x80"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "a NUL byte": b'{"a": 1}\x00',
    "a comment": b"{/* */}",
    "a trailing comma": b'{"a": 1,}',
    "single quotes": b"{'a': 1}",
    "only depth": b"[" * 100_000,
    "a name twice": b'{"a": 1, "a": 2}',
    "a name twice, escaped once": b'{"a": 1, "\\u0061": 2}',
    "a lone surrogate as a name": b'{"\\ud800": 1}',
    "300 KB": b" " * 300_000,
    "twenty thousand names": json.dumps({f"n{i}": 0 for i in range(20_000)}).encode(),
}


def test_every_operation_has_a_scene() -> None:
    """A new operation is tested too, or says here that it is not."""
    assert set(SCENES) == set(operations())


@pytest.mark.parametrize("name", WITH_BODY)
async def test_every_field_of_every_body(name: str, scenes: Scenes) -> None:
    """Poison and wrong kinds are refused; odd texts break nothing; then the good request works."""
    operation = operations()[name]
    assert operation.body_schema is not None
    scene = await scenes.of(name)
    for place, schema in fields(operation.body_schema, scene.body):
        for label, text in hostile_values(schema):
            reply = await send(operation, scene, content=filled(scene.body, place, text))
            assert_refused(reply, (place, label))
        for odd in ODD_TEXTS:
            reply = await send(operation, scene, content=filled(scene.body, place, json.dumps(odd)))
            assert_answered(reply, (place, odd))
            if reply.status_code in USED_UP:  # the text has to meet what a good request meets
                scene = await scenes.of(name)
                reply = await send(operation, scene, content=filled(scene.body, place, json.dumps(odd)))
                assert_answered(reply, (place, odd))
    await assert_good_request_works(operation, scenes)


@pytest.mark.parametrize("name", WITH_BODY)
async def test_names_that_occur_twice(name: str, scenes: Scenes) -> None:
    """Two parsers could take different ones: refused wherever it is, even when both say the same."""
    operation = operations()[name]
    assert operation.body_schema is not None
    scene = await scenes.of(name)
    for place, _ in fields(operation.body_schema, scene.body):
        if not isinstance(place[-1], str):
            continue
        good = json.dumps(value_at(scene.body, place))
        twice = filled(scene.body, place, f"{good}, {json.dumps(place[-1])}: {good}")
        assert_refused(await send(operation, scene, content=twice), place)
    unknown = filled(scene.body, ("no_such_field",), "1")
    assert_refused(await send(operation, scene, content=unknown), "unknown field")
    await assert_good_request_works(operation, scenes)


@pytest.mark.parametrize("name", WITH_BODY)
async def test_bodies_that_are_none(name: str, scenes: Scenes) -> None:
    """Bad JSON, no JSON, too much of it, and good JSON under another name."""
    operation = operations()[name]
    scene = await scenes.of(name)
    is_optional = not operation.spec["requestBody"].get("required", False)
    for label, body in BODIES.items():
        reply = await send(operation, scene, content=body)
        if is_optional and reply.is_success:
            scene = await scenes.of(name)
            continue
        assert_refused(reply, label)
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "x",
    ):
        reply = await send(operation, scene, content=json.dumps(scene.body).encode(), headers={"Content-Type": kind})
        assert_refused(reply, kind)
    await assert_good_request_works(operation, scenes)


@pytest.mark.parametrize("name", WRITES)
async def test_hostile_idempotency_keys(name: str, scenes: Scenes) -> None:
    """A key is 1 to 255 visible ASCII characters; anything else is refused before anything is done."""
    operation = operations()[name]
    scene = await scenes.of(name)
    for key in (b"", b" ", b"a b", b"\xff\xfe", "ключ".encode(), b"k" * 256, b"k" * 60_000, b"a\x00b", b"\x7f"):
        reply = await send(operation, scene, headers={b"Idempotency-Key": key})
        assert_refused(reply, key[:20])
    await assert_good_request_works(operation, scenes)


HEADERS: list[tuple[bytes, bytes]] = [
    *((b"X-Request-ID", value) for value in (b"", b"\xff\xfe", b"a" * 60_000, b"<script>", b"a\x1b[31m", b"{}" * 200)),
    *(
        (b"traceparent", value)
        for value in (
            b"",
            b"garbage",
            b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01",
            b"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            b"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            b"00-" + b"z" * 32 + b"-00f067aa0ba902b7-01",
            b"\xff" * 55,
            b"00-" * 20_000,
        )
    ),
    (b"tracestate", b"=,=" * 500),
    (b"Accept", b"\xff"),
    (b"Accept-Language", b"," * 5_000),
    (b"Cookie", b"=;" * 5_000),
    (b"X-Forwarded-For", b"\x00, 1.2.3.4"),
    (b"Range", b"bytes=-1-"),
    (b"If-None-Match", b'W/"' + b"a" * 5_000),
    (b"Content-Length", b"-1"),
    (b"Content-Encoding", b"gzip"),
    (b"Expect", b"200-nothing"),
]


async def test_hostile_headers_change_nothing(scenes: Scenes) -> None:
    """Headers that a request does not live by are read carefully or not at all; the reply carries clean ids."""
    operation = operations()["GET /consultation/{id}"]
    scene = await scenes.of(operation.name)
    for header, value in HEADERS:
        reply = await send(operation, scene, headers={header: value})
        assert reply.status_code == 200, (header, value[:40], reply.text)
        request_id = reply.headers["X-Request-ID"]
        assert 1 <= len(request_id) <= 128, header
        assert request_id.isascii(), header
        assert request_id.isprintable(), header


def jwt_like(header: Any, payload: Any, signature: str = "c2ln") -> bytes:
    """Write something that looks like a token."""
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, payload))
    return ".".join([*parts, signature]).encode()


async def test_hostile_tokens(scenes: Scenes) -> None:
    """Whatever is no token of ours is 401, and says how to authenticate."""
    operation = operations()["GET /consultation"]
    scene = await scenes.of(operation.name)
    claims = {"sub": scene.doctor.id, "sid": scene.doctor.session_id, "exp": 9_999_999_999}
    deep = base64.urlsafe_b64encode(b"[" * 20_000 + b"]" * 20_000)
    values = [
        b"",
        b"Bearer",
        b"Bearer ",
        b"bearer x",
        b"Basic dXNlcjpwYXNz",
        b"Bearer \xff\xfe",
        b"Bearer a b",
        b"Bearer ..",
        b"Bearer " + b"a" * 60_000,
        b"Bearer " + b"." * 10_000,
        b"Bearer " + deep + b"." + deep + b".c2ln",
        b"Bearer " + jwt_like({"alg": "none"}, claims, ""),
        b"Bearer " + jwt_like({"alg": "HS256"}, claims),
        b"Bearer " + jwt_like({"alg": "HS256", "typ": "at+jwt", "kid": "../../etc/passwd"}, claims),
        b"Bearer " + jwt_like({"alg": "HS256", "typ": "at+jwt", "kid": ["x"]}, claims),
        b"Bearer " + jwt_like({"alg": {"a": 1}, "typ": 5, "crit": 7, "b64": False}, claims),
        b"Bearer " + jwt_like([], []),
        b"Bearer " + jwt_like(None, 5),
        b"Bearer " + jwt_like({"alg": "HS256"}, {"sub": "\x00", "sid": {}, "exp": 1e308}),
    ]
    for value in values:
        reply = await send(
            operation, Scene(scene.patient, scene.doctor, {}, path=scene.path), headers={b"Authorization": value}
        )
        assert reply.status_code == 401, (value[:60], reply.text)
        assert_refused(reply, value[:60])
        assert reply.headers["WWW-Authenticate"].startswith("Bearer")


QUERY_VALUES = [
    *(quote(text) for text in ODD_TEXTS),
    "%00",
    "%ff%fe",
    "%ed%a0%80",
    "%",
    "%zz",
    "a" * 20_000,
    "9" * 5_000,
    "-1",
    "0",
    "101",
    "1.5",
    "1e3",
    "NaN",
    "true",
    "[]",
    "%7B%7D",
    "2026-11-24T09:00:00%2B05:30",
    "2026-11-24T09:00:00 05:30",
    "1764000000",
    "Infinity",
]


def cursor(place: Any) -> str:
    """Write something that looks like a cursor."""
    text = place if isinstance(place, bytes) else json.dumps(place).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


CURSORS = [
    "A",
    "____",
    cursor(b""),
    cursor(b"\xff"),
    cursor(b"NaN"),
    cursor(b"[" * 100),
    cursor([]),
    cursor({}),
    cursor([None, None]),
    cursor([0, 0]),
    cursor(["9999-12-31T23:59:59Z", uuid7().hex]),
    cursor(["0001-01-01T00:00:00+23:59", uuid7().hex]),
    cursor(["2026-11-23T08:00:00Z", "\x00"]),
    cursor(["2026-11-23T08:00:00Z", uuid7().hex, 1]),
]


@pytest.mark.parametrize("name", WITH_QUERY)
async def test_hostile_queries(name: str, scenes: Scenes) -> None:
    """Every parameter with every odd value, twice, without a value, and with a name nobody knows."""
    operation = operations()[name]
    scene = await scenes.of(name)
    for parameter in operation.parameters("query"):
        for value in QUERY_VALUES:
            for query in (f"{parameter['name']}={value}", f"{parameter['name']}={value}&{parameter['name']}=x"):
                reply = await send(operation, scene, query=query)
                assert_answered(reply, query[:200])
        for place in CURSORS if parameter["name"] == "cursor" else []:
            assert_refused(await send(operation, scene, query=f"cursor={place}"), place)
    for query in ("&&&", "=", "limit", "%00=1", "x" * 30_000, "a[]=1&a[b]=2", ";".join(["a=1"] * 5_000)):
        assert_answered(await send(operation, scene, query=query), query[:100])
    await assert_good_request_works(operation, scenes)


@pytest.mark.parametrize("name", WITH_PATH)
async def test_hostile_paths(name: str, scenes: Scenes) -> None:
    """An id that is none is refused, one that nobody has is not found."""
    operation = operations()[name]
    scene = await scenes.of(name)
    (parameter,) = operation.parameters("path")
    before, after = operation.path.split("{" + parameter["name"] + "}")
    odd = ["%00", "%ff", "%ed%a0%80", "..", "%2e%2e%2fauth", "%2f", "a" * 20_000, "0", "-1", "null", quote("id'--")]
    for value in [*odd, *(quote(text, safe="") for text in ODD_TEXTS if text), str(uuid7())]:
        scene.path = before + value + after
        reply = await send(operation, scene)
        assert_refused(reply, value[:100])
    await assert_good_request_works(operation, scenes)


async def test_paths_and_methods_that_nobody_serves(scenes: Scenes) -> None:
    """They are problems as well, with the methods that would be served."""
    nobody = scenes.people.nobody
    for path in ("/", "/nothing", "/%00", "/%ff", "/auth/login/", "//auth/login", "/auth%2flogin", "/" + "a/" * 2_000):
        assert_refused(await nobody.get(path), path[:40])
    for method in ("PATCH", "DELETE", "TRACE", "CONNECT", "BREW", "OPTIONS"):
        reply = await nobody.request(method, "/auth/login")
        assert_refused(reply, method)
        assert (reply.status_code, reply.headers["Allow"]) == (405, "POST"), method


async def test_every_path_names_all_its_methods(scenes: Scenes) -> None:
    """Those that the document has for it, whichever route comes first."""
    for operation in operations().values():
        reply = await scenes.people.nobody.request("PATCH", operation.path.replace("{", "").replace("}", ""))
        assert reply.status_code == 405, operation.path
        assert operation.method in reply.headers["Allow"].split(", "), operation.path


def fields(
    schema: dict[str, Any], good: Any, place: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], dict[str, Any]]]:
    """Give every place in a body that follows the schema, with its schema; lists by their first item."""
    for variant in variants(schema):
        for name, inner in variant.get("properties", {}).items():
            yield (*place, name), inner
            if isinstance(good, dict) and good.get(name) is not None:
                yield from fields(inner, good[name], (*place, name))
        if isinstance(good, list) and good and "items" in variant:
            yield (*place, 0), variant["items"]
            yield from fields(variant["items"], good[0], (*place, 0))


def hostile_values(schema: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Give the JSON texts that the field must refuse."""
    kinds = {kind for variant in variants(schema) for kind in kinds_of(variant)}
    for label, text in POISON.items():
        yield label, text
    for kind, text in KINDS.items():
        if kind not in kinds:
            yield kind, text


def kinds_of(schema: dict[str, Any]) -> set[str]:
    """Give the JSON kinds that a plain schema lets through."""
    kind = resolve(schema).get("type", "string")  # an enumeration without a type is one of texts here
    return set(kind) if isinstance(kind, list) else {kind}


def value_at(body: Any, place: tuple[str | int, ...]) -> Any:
    """Look the value up; None where the body has none."""
    for step in place:
        if isinstance(body, dict) and step not in body:
            return None
        body = body[step]
    return body


def filled(body: Any, place: tuple[str | int, ...], text: str) -> bytes:
    """Write the body with the JSON text, which may be none, in this place."""
    marker = "\u2603 here"
    changed = copy.deepcopy(body)
    inner = changed
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = marker
    return json.dumps(changed).replace(json.dumps(marker), text, 1).encode()


async def send(
    operation: Operation,
    scene: Scene,
    *,
    content: bytes | None = None,
    query: str | None = None,
    headers: dict[Any, Any] | None = None,
) -> httpx.Response:
    """Send the scene's request with something else in one part of it."""
    caller = scene.caller or Caller(scene.patient.client)
    sent: dict[Any, Any] = {}
    if caller.token is not None:
        sent[b"Authorization"] = f"Bearer {caller.token}".encode()
    if content is None and scene.body is not None:
        content = json.dumps(scene.body).encode()
    if content is not None and not any(str(name).lower() == "content-type" for name in headers or {}):
        sent[b"Content-Type"] = b"application/json"
    query = query if query is not None else str(httpx.QueryParams(scene.query))
    request = caller.client.build_request(
        operation.method, scene.path + ("?" + query if query else ""), content=content, headers=sent | (headers or {})
    )
    async with asyncio.timeout(ANSWERS_WITHIN_SECONDS):
        return await caller.client.send(request)


def assert_answered(reply: httpx.Response, what: object) -> None:
    """A success, or a problem of the caller's making."""
    assert reply.status_code < 500, (what, reply.status_code, reply.text)
    if not reply.is_success:
        assert_refused(reply, what)


def assert_refused(reply: httpx.Response, what: object) -> None:
    """A problem of the 4xx kind, in its full form."""
    assert 400 <= reply.status_code < 500, (what, reply.status_code, reply.text[:500])
    assert reply.headers["Content-Type"] == "application/problem+json", what
    problem = reply.json()
    assert problem["status"] == reply.status_code, what
    assert {"type", "title", "detail", "instance", "trace_id"} <= problem.keys(), what


async def assert_good_request_works(operation: Operation, scenes: Scenes) -> None:
    """The same operation as it is meant."""
    scene = await scenes.of(operation.name)
    reply = await send(operation, scene)
    assert reply.is_success, (reply.status_code, reply.text)
