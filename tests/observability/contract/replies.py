"""Every answer of the platform during a run, with what was asked."""

from dataclasses import dataclass, field

import httpx


@dataclass(frozen=True)
class Answer:
    """One request and what came back."""

    method: str
    path: str
    status: int
    headers: dict[str, str]
    body: str

    @property
    def is_failure(self) -> bool:
        """Tell whether somebody was told no."""
        return self.status >= 400


@dataclass
class Answers:
    """Notes what the clients that it watches were answered."""

    all: list[Answer] = field(default_factory=list)

    def watch(self, client: httpx.AsyncClient) -> httpx.AsyncClient:
        """Note every answer that this client gets."""
        client.event_hooks = {"response": [self._note]}
        return client

    async def _note(self, response: httpx.Response) -> None:
        await response.aread()
        request = response.request
        self.all.append(
            Answer(request.method, request.url.path, response.status_code, dict(response.headers), response.text)
        )
