"""A client of the cache's pods for the tests, in their own process."""

import socket
from typing import Any


def send(host: str, port: int, password: str | None, words: list[str]) -> str:
    """Send one command over a connection of its own and return the reply as valkey-cli prints it.

    Raises:
        OSError: nobody answers there within two seconds.
    """
    with socket.create_connection((host, port), timeout=2) as connection, connection.makefile("rwb") as stream:
        answer = ""
        for parts in ([["AUTH", password]] if password is not None else []) + [words]:
            encoded = [part.encode() for part in parts]
            stream.write(b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(e), e) for e in encoded))
            stream.flush()
            answer = _read(stream)
        return answer


def _read(stream: Any) -> str:  # what makefile returns has no public type
    head = stream.readline().decode().strip()
    if not head:
        raise ConnectionError("closed")
    if head[0] == "$":
        return str(stream.read(int(head[1:]) + 2).decode()[:-2]) if head != "$-1" else ""
    if head[0] == "*":
        return "\n".join(_read(stream) for _ in range(int(head[1:])))
    return str(head[1:])
