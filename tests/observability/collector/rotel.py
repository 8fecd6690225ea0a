"""A real collector for tests: rotel, from its wheel, which takes spans over OTLP and runs what our configuration says.

It is not the collector of production, which no package index has: it reads our list of attributes, and takes away by it
as the processors `redaction` and `transform/silence` are documented to do.
"""

import asyncio
import contextlib
import gzip
import json
import os
import socket
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.observability.collector.configuration import Document
from tests.observability.contract.receiver import Receiver, SeenSpan, spans_in
from tests.support.waiting import until

from telemed.local.processes import free_port

# Runs inside of rotel, in the Python that it brings: nothing but the standard library is there.
_PROCESSOR = """
import json, os, re

ALLOWED = set(json.loads(os.environ["ALLOWED_KEYS"]))
BLOCKED = [re.compile(pattern) for pattern in json.loads(os.environ["BLOCKED_VALUES"])]


def redact(attributes):
    for place in reversed(range(len(attributes))):
        one = attributes[place]
        if one.key not in ALLOWED:
            del attributes[place]
        elif isinstance(one.value.value, str):
            text = one.value.value
            for pattern in BLOCKED:
                text = pattern.sub("****", text)
            attributes[place] = type(one).new_string_value(one.key, text)


def process_spans(of_resource):
    redact(of_resource.resource.attributes)
    for of_scope in of_resource.scope_spans:
        redact(of_scope.scope.attributes)
        for span in of_scope.spans:
            redact(span.attributes)
            for event in span.events:
                redact(event.attributes)
            span.trace_state = ""
            if span.status is not None:
                span.status.message = ""
"""


@contextlib.asynccontextmanager
async def running_rotel(folder: Path, gateway: Document, sends_to: Receiver) -> AsyncIterator[str]:
    """Run it, redacting as *gateway* says; give the address for OTLP over HTTP. What waits is sent before its end."""
    processor = folder / "redaction.py"
    processor.write_text(_PROCESSOR)
    redaction = gateway["processors"]["redaction"]
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(str(await _program()), "start"),
        *("--otlp-http-endpoint", f"127.0.0.1:{port}", "--otlp-grpc-endpoint", f"127.0.0.1:{free_port()}"),
        *("--otlp-with-trace-processor", str(processor), "--batch-timeout", "200ms"),
        *("--exporter", "otlp", "--otlp-exporter-protocol", "http", "--otlp-exporter-endpoint", sends_to.url),
        env={
            "PATH": os.environ["PATH"],
            "ALLOWED_KEYS": json.dumps(redaction["allowed_keys"]),
            "BLOCKED_VALUES": json.dumps(redaction["blocked_values"]),
        },
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        await until(lambda: _listens(port))
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def bodies_of(receiver: Receiver) -> list[bytes]:
    """Give what it got, unpacked: rotel compresses."""
    return [gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body for body in list(receiver.bodies)]


def spans_of(receiver: Receiver) -> list[SeenSpan]:
    """Give the spans that it got."""
    return [span for body in bodies_of(receiver) for span in spans_in(body)]


async def _program() -> Path:
    """Find it, or skip the test where it cannot run: it asks the system for the library of Python 3.11."""
    package = find_spec("rotel")
    assert package is not None
    assert package.origin is not None
    program = Path(package.origin).parent / "rotel-agent"
    tried = await asyncio.create_subprocess_exec(
        str(program), "version", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await tried.communicate()
    if tried.returncode != 0:
        pytest.skip(f"rotel does not run here: {errors.decode().strip()}")
    return program


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
