"""What the server is asked for one request, read from its own log, and written again as a script for pgbench.

So the floor stays honest when the code changes: nobody copies statements by hand. Of two requests of one kind, values
that are equal are constants; of the others those are known that the requests were made of, a fresh id is made in place
of an id, a number in place of a number, and the rest is as the first request had it.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from uuid import UUID

import asyncpg
from tests.support.platform import TelemedProcess

from bench.results import BenchProblem
from bench.stage import Ground, serve_pinned

ROLE = "telemed_api"
_LOGGED = {"log_statement": "'all'", "log_parameter_max_length": "-1", "log_error_verbosity": "'default'"}
_ENTRY = re.compile(
    r"^\d{4}-\d\d-\d\d \S+ \S+ \[(\d+)\] (LOG|DETAIL):  (.*?)(?=^\d{4}-\d\d-\d\d \S+ \S+ \[\d+\] |\Z)",
    re.MULTILINE | re.DOTALL,
)
_STATEMENT = re.compile(r"(?:statement|execute [^:]+): (.*)", re.DOTALL)
_VALUE = re.compile(r"\$(\d+) = (NULL|'(?:[^']|'')*')")
_LITERAL = re.compile(r"'((?:[^']|'')*)'")
_PLACE = re.compile(r"\$(\d+)")
_CALL = re.compile(r"SELECT [\w, ]+ FROM (\w+\.\w+)\((\$\d+::[^()]*)\)")
_RETURNED = re.compile(r"\s*BEGIN\s+RETURN QUERY (.*);\s+END\s*", re.DOTALL)
_WARM_UPS = 3
_FRESH = 0x100  # kinds of ids that are nothing else's


@dataclass(frozen=True)
class Statement:
    """One statement as the server logged it; values as text, None for NULL."""

    backend: int
    text: str
    values: tuple[str | None, ...]


@dataclass(frozen=True)
class Sample:
    """The statements of one request, and what is known of the request's values: how each follows from a number."""

    statements: list[Statement]
    known: dict[str, str]


async def captured(
    lent: Ground, send: Callable[[int], Awaitable[dict[str, str]]], database_url: str | None = None
) -> list[Sample]:
    """Start a process whose statements are logged, let *send* make requests of it, and give those of the last two.

    *send* is told the port, and gives what is known of the request.
    """
    superuser = await asyncpg.connect(lent.database.superuser)
    try:
        for name, value in _LOGGED.items():
            await superuser.execute(f"ALTER ROLE {ROLE} IN DATABASE {lent.database.name} SET {name} = {value}")
        settings = {"DATABASE_URL": database_url} if database_url else {}
        process = await serve_pinned(lent.running, "booking", **settings)
        try:
            return await _samples(lent, process, send)
        finally:
            await lent.running.stop(process)
    finally:
        await superuser.execute(f"ALTER ROLE {ROLE} IN DATABASE {lent.database.name} RESET ALL")
        await superuser.close()


async def _samples(
    lent: Ground, process: TelemedProcess, send: Callable[[int], Awaitable[dict[str, str]]]
) -> list[Sample]:
    log = lent.servers.postgres.running.log
    assert process.port
    for _ in range(_WARM_UPS):  # the driver asks for the types of columns once for each connection
        await send(process.port)
    start = log.stat().st_size
    await asyncio.sleep(1.5)  # what is asked while nothing is asked: watching, not working
    idle = {statement.text for statement in parsed(log.read_bytes()[start:].decode())}
    samples = []
    for _ in range(2):
        start = log.stat().st_size
        known = await send(process.port)
        asked = parsed(log.read_bytes()[start:].decode())
        # A whole backend's or nothing of it: its BEGIN and COMMIT are the watchers', too.
        working = {one.backend for one in asked if one.text not in idle}
        samples.append(Sample([one for one in asked if one.backend in working], known))
    return samples


def parsed(log: str) -> list[Statement]:
    """Read statements and their values from PostgreSQL's log."""
    found: list[Statement] = []
    for entry in _ENTRY.finditer(log):
        backend, kind, said = int(entry[1]), entry[2], entry[3].rstrip("\n")
        statement = _STATEMENT.match(said)
        if kind == "LOG" and statement:
            found.append(Statement(backend, statement[1].replace("\n\t", "\n").strip().rstrip(";"), ()))
        elif kind == "DETAIL" and said.lower().startswith("parameters: ") and found:
            values = {
                int(place): None if text == "NULL" else text[1:-1].replace("''", "'")
                for place, text in _VALUE.findall(said)
            }
            last = found.pop()
            found.append(Statement(last.backend, last.text, tuple(values[place] for place in sorted(values))))
    return found


async def script(
    lent: Ground, samples: list[Sample], head: str, *, only: Callable[[str], bool] = lambda _: True
) -> str:
    """Write what one request asks as a script for pgbench; *head* sets the variable `n`.

    Raises:
        BenchProblem: two requests of one kind asked for different things.
    """
    one, other = ([each for each in sample.statements if only(each.text)] for sample in samples)
    if not one or [each.text for each in one] != [each.text for each in other]:
        raise BenchProblem(
            f"two requests asked differently: {[x.text[:80] for x in one]}, {[x.text[:80] for x in other]}"
        )
    connection = await asyncpg.connect(lent.database.services)
    try:
        lines = [head]
        for place, (first, second) in enumerate(zip(one, other, strict=True)):
            types = await _types(connection, first)
            values = [
                _expression(place * 32 + number, type_, mine, theirs, samples[0].known)
                for number, (type_, mine, theirs) in enumerate(zip(types, first.values, second.values, strict=True))
            ]
            text = _readable(first.text)
            lines.append(_PLACE.sub(lambda found, values=values: values[int(found[1]) - 1], text) + ";")  # type: ignore[misc]
    finally:
        await connection.close()
    return "\n".join(lines) + "\n"


async def without_calls(lent: Ground, samples: list[Sample]) -> list[Sample]:
    """Put in place of each call of a function that does nothing but return a query, that query.

    So a floor owes nothing to what the call costs.
    """
    connection = await asyncpg.connect(lent.database.services)
    try:
        names = {call[1] for sample in samples for each in sample.statements if (call := _CALL.fullmatch(each.text))}
        sources = {
            name: await connection.fetchval("SELECT prosrc FROM pg_proc WHERE oid = $1::text::regproc", name)
            for name in names
        }
    finally:
        await connection.close()
    return [replace(one, statements=[opened(each, sources) for each in one.statements]) for one in samples]


def opened(statement: Statement, sources: Mapping[str, str]) -> Statement:
    """Put the query in place of the call, if it is one of a function; *sources* are the functions' texts.

    Raises:
        BenchProblem: the function does more than return a query, or takes its values in another order.
    """
    call = _CALL.fullmatch(statement.text)
    if call is None:
        return statement
    query = _RETURNED.fullmatch(sources[call[1]])
    types = call[2].split(", ")
    if query is None or not all(type_.startswith(f"${place}::") for place, type_ in enumerate(types, start=1)):
        raise BenchProblem(f"{call[1]} is not called with its values in order, or does more than return a query")
    return replace(statement, text=_PLACE.sub(lambda place: types[int(place[1]) - 1], query[1]))


async def _types(connection: asyncpg.Connection, statement: Statement) -> list[str]:
    if not statement.values:
        return []
    prepared = await connection.prepare(statement.text)
    return [parameter.name for parameter in prepared.get_parameters()]


def _expression(place: int, type_: str, first: str | None, second: str | None, known: dict[str, str]) -> str:
    if first is None:
        return f"NULL::{type_}"
    if first in known:
        return f"({known[first]})::{type_}"
    if first != second and _is_uuid(first):
        return f"bench.id({_FRESH + place}, :n)::{type_}"
    if first != second and type_ in {"int4", "int8"}:
        return f"(:n::int8 + {place * 10_000_000})::{type_}"
    return f"{quoted(first)}::{type_}"


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _readable(statement: str) -> str:
    """Write a statement's own literals as `quoted` does."""
    return _LITERAL.sub(lambda found: quoted(found[1].replace("''", "'")) if ":" in found[1] else found[0], statement)


def quoted(text: str) -> str:
    """Write a literal in which pgbench, which takes a colon and a letter for a variable, finds none."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "''").replace(":", "\\x3A") + "'"
