"""However many people, addresses and ids there are: the number of series stays."""

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from tests.observability.contract.gathering import Gathered
from tests.support.openapi import operations
from tests.support.people import People, mint
from tests.support.settings import NOW

from telemed.kernel.http import request_metrics
from telemed.kernel.resources import Resources
from telemed.kernel.settings import Settings
from telemed.kernel.telemetry.metrics import LATENCY_BUCKETS, Metrics

PAGE = Path(__file__).parents[3] / "observability" / "metrics.md"
STRANGERS = 10_000
AT_ONCE = 40
# What observability/metrics.md says of one process: after every route and failure, and whatever anybody tries.
USUALLY, AT_MOST = 1000, 15_000
# Values of `status` and `status_class` that a route of ours can have: declared ones, and what the edge answers for it.
_OF_THE_EDGE = frozenset({"405", "408", "413", "499", "500", "503", "504"})
_TRAFFICS = 2
Ask = tuple[str, str, dict[str, str], str | None]  # method, address, headers, body


def word() -> str:
    return secrets.token_hex(8)


def headers(**more: str) -> dict[str, str]:
    """What a client says of itself: never twice the same."""
    return {
        "User-Agent": f"agent/{word()}",
        "X-Request-ID": word(),
        "traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01",
        "baggage": f"a={word()}",
        "Idempotency-Key": word(),
        "Content-Type": "application/json",
    } | {name.replace("_", "-"): value for name, value in more.items()}


def somebody(settings: Settings) -> str:
    """A good token of a user whom nobody knows."""
    return f"Bearer {mint(settings, str(uuid4()), str(uuid4()), now=NOW)}"


def kinds_of_strangers(settings: Settings) -> list[Callable[[], Ask]]:
    """Requests of which no two are alike, most of them quick."""
    return [
        lambda: ("GET", f"/{word()}/{word()}?{word()}={word()}", headers(), None),
        lambda: (word().upper(), f"/booking/{word()}", headers(), None),
        lambda: ("POST", "/booking/slots/book", headers(), "{}"),
        lambda: ("GET", f"/consultation/{uuid4()}/prescription?{word()}", headers(), None),
        lambda: ("GET", f"/booking/appointments/{word()}", headers(Authorization=somebody(settings)), None),
        lambda: ("POST", "/auth/login", headers(), f'{{"email": "{word()}", "password": "{word()}"'),
        lambda: ("GET", f"/booking/doctors/{word()}", headers(), None),
        lambda: ("DELETE", f"/booking/slots/{word()}", headers(), None),
    ]


def series(resources: Resources) -> set[tuple[str, frozenset[tuple[str, str]]]]:
    """Every series that the process shows at this moment."""
    families = resources.metrics.registry.collect()
    return {(sample.name, frozenset(sample.labels.items())) for one in families for sample in one.samples}


async def send(api: httpx.AsyncClient, asked: list[Ask]) -> None:
    async def one_after_another(some: list[Ask]) -> None:
        for method, address, head, body in some:
            await api.request(method, address, headers=head, content=body)

    await asyncio.gather(*(one_after_another(asked[start::AT_ONCE]) for start in range(AT_ONCE)))


async def test_ten_thousand_strangers_add_no_series(
    api: httpx.AsyncClient, resources: Resources, settings: Settings
) -> None:
    """One of each kind adds what its kind has; ten thousand others, all different, add nothing."""
    kinds = kinds_of_strangers(settings)
    await send(api, [make() for make in kinds])
    known = series(resources)
    await send(api, [kinds[number % len(kinds)]() for number in range(STRANGERS)])
    assert series(resources) - known == set()


async def test_many_patients_add_no_series(api: httpx.AsyncClient, resources: Resources, people: People) -> None:
    """Of people whom the platform knows, too: their ids are in paths, tokens, audit records and events only."""
    patients = await people.patients(201)

    def looks(token: str | None) -> list[Ask]:
        known = headers(Authorization=f"Bearer {token}")
        return [
            ("GET", "/booking/appointments", known, None),
            ("GET", f"/booking/slots/search?specialization={word()}", headers(), None),
            ("POST", "/booking/slots/book", known, f'{{"slot_id": "{uuid4()}", "reason": "{word()}"}}'),
            ("GET", f"/consultation/{uuid4()}", known, None),
        ]

    await send(api, looks(patients[0].token))
    before = series(resources)
    await send(api, [ask for one in patients[1:] for ask in looks(one.token)])
    assert series(resources) - before == set()


def test_a_process_shows_as_many_series_as_the_page_says(gathered: Gathered) -> None:
    """After every route and every kind of failure, over real connections."""
    counts = Counter(one.labels["pod"] for one in gathered.series)
    assert max(counts.values()) <= USUALLY, counts
    assert f"{USUALLY:,} series" in PAGE.read_text()


def test_nobody_can_make_a_process_show_more_than_the_page_says() -> None:
    """Every route with every status, every other method at every address, as a user and as a probe."""
    of_one_histogram = len(LATENCY_BUCKETS) + 3
    most = 0
    for operation in operations().values():
        statuses = set(operation.spec["responses"]) | _OF_THE_EDGE
        classes = {status if status == "499" else status[0] for status in statuses}
        most += len(statuses) + len(classes) * of_one_histogram
    addresses = {operation.path for operation in operations().values()} | {"unmatched", "/docs", "/openapi.json"}
    elsewhere = len(addresses) * (len(request_metrics.METHODS) + 1) - len(operations())
    most += elsewhere * (1 + of_one_histogram)
    assert USUALLY + most * _TRAFFICS < AT_MOST
    assert f"{AT_MOST:,}" in PAGE.read_text()


def test_a_label_that_follows_the_address_is_noticed() -> None:
    """What the test above would miss, it must not miss: here the route is what the client typed."""
    metrics = Metrics()
    counted = request_metrics.RequestMetrics("all", metrics, [])
    before = sum(len(list(one.samples)) for one in metrics.registry.collect())
    counted.answered("GET", f"/{word()}", "404", "user", 0.1, trace_id=None)
    after = sum(len(list(one.samples)) for one in metrics.registry.collect())
    assert after == before + 1 + len(LATENCY_BUCKETS) + 3


@pytest.mark.parametrize("method", ["GET", "BREW", "get", "\u00e9"])
def test_a_method_is_one_that_http_knows(method: str) -> None:
    """Anybody may invent one."""
    assert request_metrics.method_label(method) in {*request_metrics.METHODS, "other"}
