"""`telemed …` as an operator types it: a process with the environment of the platform under test."""

import asyncio
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import Mapping
from dataclasses import dataclass

from tests.support.platform import environment_of

from telemed.kernel.settings import Settings

_WITHIN_SECONDS = 120.0


@dataclass(frozen=True)
class Finished:
    """What a command has said."""

    code: int
    output: str
    errors: str


async def telemed(settings: Settings, *arguments: str, stdin: str = "") -> Finished:
    """Run the command to its end."""
    return await finished(await begun(environment_of(settings), *arguments), stdin=stdin)


async def begun(environment: Mapping[str, str], *arguments: str) -> Process:
    """Start the command with this environment and no more; hand it to `finished`."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "telemed.cli", *arguments),
        env=dict(environment),
        # Not the checkout: it may hold the secrets of a platform that somebody runs there.
        cwd=tempfile.gettempdir(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def finished(process: Process, *, stdin: str = "") -> Finished:
    """Wait for its end; it is gone afterwards whatever happens."""
    try:
        output, errors = await asyncio.wait_for(process.communicate(stdin.encode()), _WITHIN_SECONDS)
    except BaseException:
        if process.returncode is None:
            process.kill()
            await process.wait()
        raise
    assert process.returncode is not None
    return Finished(process.returncode, output.decode(), errors.decode())
