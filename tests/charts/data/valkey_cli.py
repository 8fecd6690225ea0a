"""As much of valkey-cli as the cache's scripts call, as the wheel of Valkey has none; and a client for the tests."""

import os
import socket
import sys
from pathlib import Path
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


def main(words: list[str]) -> str:
    """Run it as a program; without -h it asks the pod that it runs in."""
    host, port = os.environ["POD_IP"], 6379
    while words and words[0] in ("-h", "-p"):
        host, port = (words[1], port) if words[0] == "-h" else (host, int(words[1]))
        words = words[2:]
    names = dict(line.split() for line in Path(os.environ["NAMES"]).read_text().splitlines())
    return send(names.get(host, host), port, os.environ.get("REDISCLI_AUTH"), words)


if __name__ == "__main__":
    try:
        sys.stdout.write(main(sys.argv[1:]) + "\n")
    except OSError as error:
        sys.exit(f"Could not connect to Valkey: {error}")
