"""Looks after the load whether everything that was acknowledged is there, and no slot is two people's.

Looks past the code that is tested where the database's address is given, and through the API otherwise. What a search
must not show is watched while the load runs (`board.py`): afterwards nobody can tell.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import asyncpg
import httpx

from telemed_load.accounts import login, pages
from telemed_load.people import Account
from telemed_load.problems import LoadProblem

OCCUPYING = frozenset({"booked", "in_progress", "completed", "no_show"})
# What an appointment may be afterwards, by what was last acknowledged of it. A step whose answer never came may have
# been done or not.
MAY_BE: Mapping[str, frozenset[str]] = {
    "booked": frozenset({"booked", "in_progress"}),
    "in_progress": frozenset({"in_progress", "completed"}),
    "completed": frozenset({"completed"}),
    "cancelled": frozenset({"cancelled"}),
    "rescheduled": frozenset({"rescheduled"}),
    "cancelling": frozenset({"booked", "cancelled"}),
    "moving": frozenset({"booked", "rescheduled"}),
}


@dataclass(frozen=True, slots=True)
class Kept:
    """An appointment as it is found afterwards."""

    id: str
    slot: str
    status: str


class Looks(Protocol):
    """Finds what is there. *shows_running* is False where a visit that runs is shown as booked."""

    described: str
    shows_running: bool

    def appointments(self, acknowledged: Mapping[str, Mapping[str, str]]) -> list[Kept]:
        """Give the acknowledged appointments that are there, and the others of their slots that can be seen."""
        ...


class ThroughTheDatabase:
    """Reads the tables, as their owner."""

    described = "the database's tables"
    shows_running = True

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    def appointments(self, acknowledged: Mapping[str, Mapping[str, str]]) -> list[Kept]:
        """Give the appointments of every slot that occurs in what was acknowledged."""
        return asyncio.run(self._appointments(acknowledged))

    async def _appointments(self, acknowledged: Mapping[str, Mapping[str, str]]) -> list[Kept]:
        connection = await asyncpg.connect(self._dsn, timeout=10)
        try:
            rows = await connection.fetch(
                """
                SELECT id, slot_id, status FROM booking.appointments
                WHERE id = ANY ($1::uuid[]) OR slot_id = ANY ($2::uuid[])
                """,
                list(acknowledged),
                [one["slot"] for one in acknowledged.values()],
            )
        finally:
            await connection.close(timeout=10)
        return [Kept(str(row["id"]), str(row["slot_id"]), row["status"]) for row in rows]


class ThroughTheApi:
    """Lets everybody who booked list their appointments."""

    described = "what the API shows to those who booked"
    shows_running = False

    def __init__(self, client: httpx.Client, accounts: Sequence[Account]) -> None:
        self._client = client
        self._accounts = {account.id: account for account in accounts}

    def appointments(self, acknowledged: Mapping[str, Mapping[str, str]]) -> list[Kept]:
        """Give all appointments of these people."""
        kept = []
        for patient in sorted({one["patient"] for one in acknowledged.values()}):
            known = self._accounts[patient]
            # Anew: the tokens from before the load have been used up in it.
            account = login(self._client, known.email, known.password) if known.password else known
            shown = pages(self._client, "/booking/appointments", account)
            kept += [Kept(item["id"], item["slot_id"], item["status"]) for item in shown]
        return kept


def look(looks: Looks, acknowledged: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Give every promise that is broken, each in a sentence; empty when all is well."""
    if not acknowledged:
        return []
    kept = looks.appointments(acknowledged)
    may_be = MAY_BE if looks.shows_running else {told: found | _shown(found) for told, found in MAY_BE.items()}
    return [*_lost(acknowledged, {one.id: one for one in kept}, may_be), *_twice(kept)]


def _shown(statuses: frozenset[str]) -> frozenset[str]:
    return frozenset({"booked"}) if "in_progress" in statuses else frozenset()


def _lost(
    acknowledged: Mapping[str, Mapping[str, str]], kept: Mapping[str, Kept], may_be: Mapping[str, frozenset[str]]
) -> list[str]:
    broken = []
    for appointment, told in acknowledged.items():
        found = kept.get(appointment)
        if found is None:
            broken.append(f"appointment {appointment} was acknowledged and is not there")
        elif found.slot != told["slot"]:
            broken.append(f"appointment {appointment} was acknowledged for slot {told['slot']} and has {found.slot}")
        elif found.status not in may_be[told["status"]]:
            broken.append(f"appointment {appointment} was last told to be {told['status']} and is {found.status}")
    return broken


def _twice(kept: Sequence[Kept]) -> list[str]:
    occupying: dict[str, set[str]] = defaultdict(set)
    for one in kept:
        if one.status in OCCUPYING:
            occupying[one.slot].add(one.id)
    return [f"slot {slot} has {len(ids)} appointments" for slot, ids in occupying.items() if len(ids) > 1]


def dsn_is_reachable(dsn: str) -> None:
    """Find out before the load whether the look after it will be possible.

    Raises:
        LoadProblem: it will not.
    """

    async def connect() -> None:
        await (await asyncpg.connect(dsn, timeout=10)).close(timeout=10)

    try:
        asyncio.run(connect())
    except (OSError, asyncpg.PostgresError, ValueError) as error:
        raise LoadProblem(f"The database cannot be reached: {type(error).__name__}.") from error
