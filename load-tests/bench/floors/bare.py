"""The floor of the cached search: an ASGI application that knows nothing but the answers, on the same uvicorn.

python bare.py PORT ANSWERS    a file: one JSON object of query strings and bodies
"""

import json
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def application(answers: dict[bytes, bytes]) -> Any:
    """Make the application."""
    starts = {
        query: {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())],
        }
        for query, body in answers.items()
    }
    bodies = {query: {"type": "http.response.body", "body": body} for query, body in answers.items()}

    async def answer(scope: MutableMapping[str, Any], _receive: object, send: Send) -> None:
        query = scope["query_string"]
        await send(starts[query])
        await send(bodies[query])

    return answer


def main() -> None:
    """Serve until SIGTERM."""
    port, file = int(sys.argv[1]), Path(sys.argv[2])
    answers = {query.encode(): body.encode() for query, body in json.loads(file.read_text()).items()}
    config = uvicorn.Config(
        application(answers),
        port=port,
        http="httptools",
        loop="uvloop",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=75,
    )
    uvloop.run(uvicorn.Server(config).serve())


if __name__ == "__main__":
    main()
