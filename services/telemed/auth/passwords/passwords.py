"""Judging, hashing and comparing passwords without stopping anything else."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass

from zxcvbn import zxcvbn

from telemed.auth.passwords.hashing import PasswordHashes
from telemed.auth.passwords.rules import TOO_GUESSABLE, is_too_guessable, personal_words
from telemed.auth.passwords.threads import HashingThreads
from telemed.kernel.problems import FieldError, InvalidRequest
from telemed.kernel.resources import Resources

# The estimate's time grows with the square of the length: 70 ms at 72 characters in the worst case. A password whose
# beginning is hard to guess is hard to guess.
_JUDGED_CHARACTERS = 72


@dataclass(frozen=True, slots=True)
class Comparison:
    """What comparing a password with an account's hash gave."""

    matches: bool
    upgraded_hash: str | None = None  # to be stored instead, when the stored one is of an old cost


class Passwords:
    """The passwords of one process."""

    def __init__(self, hashes: PasswordHashes, threads: HashingThreads, judging: ThreadPoolExecutor) -> None:
        self._hashes = hashes
        self._threads = threads
        self._judging = judging

    def place(self) -> AbstractContextManager[None]:
        """Hold a place in the queue while the context lasts; see `HashingThreads.place`."""
        return self._threads.place()

    async def hash_new(self, password: str, *, about: tuple[str, ...]) -> str:
        """Judge a new password of somebody with this name and e-mail address, and hash it.

        Raises:
            InvalidRequest: the password is easy to guess; names the field.
            Overloaded: too many passwords wait to be hashed.
        """
        with self.place():
            loop = asyncio.get_running_loop()
            words = personal_words(*about)
            guesses = await loop.run_in_executor(self._judging, estimated_guesses, password, words)
            if is_too_guessable(password, estimated_guesses=guesses, about=words):
                wrong = FieldError(loc=["body", "password"], msg=TOO_GUESSABLE, type="password_too_guessable")
                raise InvalidRequest(TOO_GUESSABLE, errors=[wrong])
            return await self._threads.run(self._hashes.make, password)

    async def compare(self, password: str, stored: str | None) -> Comparison:
        """Compare with an account's hash, or with nobody's; call it while holding a place.

        Never inside a transaction: it would hold a connection and its locks for a quarter of a second.
        """
        matches = await self._threads.run(self._hashes.matches, password, stored)
        if stored is None or not matches:
            return Comparison(matches=False)
        if not self._hashes.is_outdated(stored):
            return Comparison(matches=True)
        return Comparison(matches=True, upgraded_hash=await self._threads.run(self._hashes.make, password))


@asynccontextmanager
async def open_passwords(resources: Resources) -> AsyncIterator[Passwords]:
    """Start the threads; they end with the context."""
    settings = resources.settings
    resources.metrics.password_queue_capacity.set(settings.bcrypt_queue)
    threads = HashingThreads(
        threads=settings.bcrypt_threads,
        queue=settings.bcrypt_queue,
        queue_length=resources.metrics.password_queue,
        duration=resources.metrics.password_hash,
    )
    # A thread of its own, and one only, at ordinary priority. zxcvbn is Python: it holds the interpreter's lock, and
    # a thread of low priority that holds it stops the event loop whenever the machine is busy. And it keeps the
    # personal words in a module-wide dictionary, so that two estimates at once would mix two people's.
    judging = ThreadPoolExecutor(1, thread_name_prefix="judging")
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(judging.shutdown, wait=False, cancel_futures=True)
        stack.push_async_callback(threads.close)
        # Measures at the same time how long a hash takes here.
        hashes = await threads.run(PasswordHashes, settings.secret, cost=settings.bcrypt_cost)
        yield Passwords(hashes, threads, judging)


def estimated_guesses(password: str, words: list[str]) -> float:
    """Estimate how many guesses the password takes, for somebody who tries these words first."""
    return float(zxcvbn(password[:_JUDGED_CHARACTERS], user_inputs=words)["guesses"])
