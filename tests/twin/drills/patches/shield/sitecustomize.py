"""Takes the shield off COMMIT in every process that finds this folder on its path. For drills that must go red."""

import asyncio

from telemed.kernel import database

if not hasattr(database, "_finish"):
    raise SystemExit("the shield has another name now: tests/twin/drills/patches/shield")


async def _unshielded(task: "asyncio.Future[object]") -> object:
    return await task  # whoever cancels the caller cancels the COMMIT


database._finish = _unshielded  # type: ignore[assignment]  # that is the point
