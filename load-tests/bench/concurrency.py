"""Twenty times as many clients as connections to the database, against as many: uncached searches and bookings."""

from bench import wire
from bench.booking import book
from bench.results import Result
from bench.scene import Bench
from bench.uncached_search import Queries

TIMES = 20
KEPT = 0.8


async def concurrency(bench: Bench) -> list[Result]:
    """Measure few and many in turn."""
    lent = await bench.big()
    pool = lent.settings.database_pool_size
    wishes, queries = await bench.wishes(lent), Queries()
    process = await bench.serve(lent, "booking")
    assert process.port
    searches: dict[int, list[float]] = {pool: [], TIMES * pool: []}
    bookings: dict[int, list[float]] = {pool: [], TIMES * pool: []}
    try:
        for number in range(bench.size.rounds):
            for clients in (pool, TIMES * pool)[:: 1 if number % 2 else -1]:
                tally = await wire.closed(process.port, queries, connections=clients, seconds=bench.size.seconds)
                searches[clients].append(tally.require(200).rate)
                count = max(bench.size.bookings, 2 * clients)
                bookings[clients].append((await book(wishes, process, count, clients=clients)).rate)
    finally:
        await lent.running.stop(process)
    return [
        Result(
            f"{what}, {TIMES * pool} clients against {pool}", f"{pool} clients, as many as connections", unit,
            "at least", KEPT, floors=tuple(rates[pool]), values=tuple(rates[TIMES * pool]),
        )
        for what, unit, rates in (
            ("uncached search", "requests/s", searches),
            ("booking", "bookings/s", bookings),
        )
    ]  # fmt: skip
