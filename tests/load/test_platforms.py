"""What is loaded is a Telemed, and a platform of the load's own is nobody else's."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.load.samples import schedule

from telemed_load import platforms
from telemed_load.accounts import login
from telemed_load.platforms import is_answering, target
from telemed_load.problems import LoadProblem


@contextmanager
def answering(body: bytes, status: int = 200, **headers: str) -> Iterator[str]:
    """Lend the address of something that says the same to everybody."""

    class Same(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Same) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()


@pytest.mark.parametrize("body", [b"<p>No items today</p>", b'["items"]', b'{"detail": "no items"}', b""])
def test_whoever_knows_no_slots_is_no_platform(body: bytes) -> None:
    """Something else listens on the port; nobody logs in there."""
    with answering(body) as url:
        assert not is_answering(url)


def test_a_page_of_slots_is_a_platforms() -> None:
    """Also an empty one."""
    with answering(b'{"items": [], "next_cursor": null}') as url:
        assert is_answering(url)


def test_a_gateway_may_say_when_to_come_again_by_a_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP knows both; who asks in vain is told so, and not of a number."""
    pauses: list[float] = []
    monkeypatch.setattr("telemed_load.accounts.time.sleep", pauses.append)

    with (
        answering(b"", 503, Retry_After="Wed, 21 Oct 2026 07:28:00 GMT") as url,
        httpx.Client(base_url=url) as client,
        pytest.raises(LoadProblem, match="does not let"),
    ):
        login(client, "patient@example.com", "secret")

    assert pauses == [5, 5, 5, 5, 5]


def test_the_callers_environment_leads_to_no_other_database(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither for writes nor for reads."""

    class Started(Exception):
        pass

    def popen(*_: object, env: dict[str, str], **__: Any) -> None:
        given.update(env)
        raise Started

    given: dict[str, str] = {}
    theirs = {"DATABASE_URL", "OWNER_DATABASE_URL", "REPLICA_DATABASE_URLS", "REDIS_URL", "POSTGRES_HOST"}
    for name in theirs:
        monkeypatch.setenv(name, "postgresql://somebody:else@db.example.com/telemed")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(platforms, "is_answering", lambda _: False)
    monkeypatch.setattr("telemed_load.platforms.subprocess.Popen", popen)

    with pytest.raises(Started), target(None, None, schedule().profile):
        pass

    assert theirs & given.keys() == set()
    assert Path(given["TELEMED_HOME"]).name == "home"
