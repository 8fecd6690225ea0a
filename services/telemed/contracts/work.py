"""One request's way from a route into the database: as whom, under which key, in which transaction."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar
from uuid import UUID

from fastapi import Request, Response
from pydantic import BaseModel
from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.contracts.entrance import enter
from telemed.contracts.looks import Look, look
from telemed.contracts.roles import Role
from telemed.kernel.acts import Act, Actor
from telemed.kernel.audit import AuditEntry, append_audit
from telemed.kernel.direct import Direct
from telemed.kernel.http.problem_responses import problem_response
from telemed.kernel.idempotency import Once, Reply, ReplyVault, request_hash
from telemed.kernel.identity import Claims
from telemed.kernel.keys import derived_key
from telemed.kernel.problems import Forbidden, NotAuthenticated, Problem
from telemed.kernel.resources import Resources

P = ParamSpec("P")
T = TypeVar("T")
Body = TypeVar("Body", bound=BaseModel)
# What an operation looks like: a session, the act, then its own arguments.
Operation = Callable[Concatenate[AsyncSession, Act, P], Awaitable[T]]

# Raises what the caller is told instead; is given the transaction and the act, as an operation is.
MayRepeat = Callable[[Any, Act], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Entry:
    """Somebody who comes with a write, for an operation that looks for itself who they are (`Work.write_directly`).

    *admit* makes the act of the role that was found (None: no user, or no session), or raises what `Work.enter` does.
    """

    user_id: UUID
    session_id: UUID | None
    once: Once | None
    admit: Callable[[Role | None], Act]


@dataclass(frozen=True, slots=True)
class Written(Generic[T]):
    """What a direct operation gives: its reply, and what it did; None if the reply is an earlier request's."""

    reply: Reply
    outcome: T | None = None


@dataclass(frozen=True)
class Work:
    """One request's way to the database: as whom, under which roles, under which idempotency key."""

    resources: Resources
    request: Request
    act: Act
    claims: Claims | None
    allowed: frozenset[Role]
    idempotency_key: str | None = None
    may_repeat: MayRepeat | None = None

    def repeating(self, may_repeat: MayRepeat) -> "Work":
        """Give the same work, of which `write` tells a success again under its key only if this raises nothing.

        For what shows a patient's data: whose it was when it was done may have no right to it any more.
        """
        return replace(self, may_repeat=may_repeat)

    async def look(self, wanted: Look[Body]) -> Response:
        """Answer with what a look shows, where a replica's state will do if it has the client's own writes.

        Its records are committed before this returns. The body is rendered here, as the framework would, but once.
        """
        body = await look(self, wanted)
        return Response(body.model_dump_json(), media_type="application/json")

    async def read_trail(self, operation: Operation[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run an operation on the audit trail, with the database role that may see it.

        A transaction and not a mere read, because a look at the trail commits its own record before a byte of it goes.
        """

        async def transaction(session: AsyncSession) -> T:
            return await operation(session, await self.enter(session), *args, **kwargs)

        try:
            return await self.resources.auditor_db.transact(transaction)
        except Problem as problem:
            await self.settle(problem, None)
            raise

    async def write(
        self,
        operation: Callable[..., Awaitable[T]],
        *args: Any,
        reply: Callable[[T], BaseModel | None],
        status: int = 200,
        location: Callable[[T], str] | None = None,
        after: Callable[[T], Awaitable[None]] | None = None,
        after_replay: Callable[[Reply], Awaitable[None]] | None = None,
        once: Once | None = None,
        directly: bool = False,
    ) -> Response:
        """Run an operation that changes something: effect, audit, events and stored reply commit together.

        *reply* renders what the operation returned (None: no body), inside the transaction; *after* runs between
        commit and reply, for caches that must know before the client does. *after_replay* does it again for a success
        that is replayed: whoever committed it may have died, or lost its client, before *after*. *once* is given by
        anonymous routes, whose caller is not in a token. *directly* gives the operation a `Direct` instead of a
        session.
        """
        once = once or self.once()
        result: list[T] = []
        is_repeat = False

        async def whole(transaction: Any) -> Reply:  # what the operation takes
            nonlocal is_repeat
            act, stored = await self._come_in(transaction, once)
            is_repeat = stored is not None
            if stored is not None:
                if self.may_repeat is not None and stored.status < 300:
                    await self.may_repeat(transaction, act)
                return stored
            outcome = await operation(transaction, act, *args)
            result[:] = [outcome]
            answer = rendered(reply(outcome), status, location(outcome) if location else None)
            if once:
                once.keep(transaction, answer, now=act.now)
            return answer

        db = self.resources.db
        try:
            answer = await (db.transact_directly(whole) if directly else db.transact(whole))
        except Problem as problem:
            # Under the key of a repeat stands what this caller is not to have.
            answer = await self.settle(problem, None if is_repeat else once)
        return await self._acknowledge(answer, partial(after, result[0]) if after and result else None, after_replay)

    async def write_directly(
        self,
        operation: Callable[[Entry], Awaitable[Written[T]]],
        *,
        after: Callable[[T], Awaitable[None]],
        after_replay: Callable[[Reply], Awaitable[None]],
    ) -> Response:
        """Do as `write` for an operation that does it all by itself, in as few round trips as it can.

        The operation admits who comes, honours their key and stores its reply; that, too, commits together.
        """
        entry = self._entry()
        try:
            written = await operation(entry)
        except Problem as problem:
            written = Written(await self.settle(problem, entry.once))
        outcome = written.outcome
        return await self._acknowledge(
            written.reply, partial(after, outcome) if outcome is not None else None, after_replay
        )

    async def _acknowledge(
        self,
        reply: Reply,
        after: Callable[[], Awaitable[None]] | None,
        after_replay: Callable[[Reply], Awaitable[None]] | None,
    ) -> Response:
        is_success_again = reply.is_replayed and reply.status < 300
        if is_success_again:
            # To replay is to read. Whoever wrote it may have been told that nobody knows whether replicas have it.
            await self.resources.db.confirm()
        # Also after a replay: the first reply, with its token, may have been lost on its way.
        await self.resources.reads.note_write()
        if after is not None and not reply.is_replayed:
            await after()
        if after_replay is not None and is_success_again:
            await after_replay(reply)
        return reply.response()

    async def settle(self, problem: Problem, once: Once | None) -> Reply:
        """Write down a refusal: its audit record, and its reply under the key; then raise it.

        In a transaction of its own, as the one that was refused has been rolled back. If somebody else with the same
        key succeeded meanwhile, theirs is the answer.
        """
        # A failure on our side is never the answer for good, whatever its class says.
        keeps = once is not None and problem.is_final and problem.status < 500
        if problem.denial is None and not keeps:
            raise problem
        if problem.denial is not None:
            stored = await self.resources.db.transact(
                self._note_denial, problem.denial, problem, once if keeps else None
            )
        else:
            assert once is not None  # noqa: S101 - narrows the type only: it is what keeps
            stored = await self.resources.refusals.keep(once, self._problem_reply(problem), now=self.act.now)
        if stored is None:
            raise problem
        return stored

    async def _note_denial(
        self, session: AsyncSession, denial: AuditEntry, problem: Problem, once: Once | None
    ) -> Reply | None:
        found = await enter(session, self.claims, once)
        stored = found.reply()
        if stored is not None:
            return stored
        await append_audit(session, self._as(found.role), denial)
        if once:
            once.keep(session, self._problem_reply(problem), now=self.act.now)
        return None

    def once(self, *, caller: str | None = None, vault: ReplyVault | None = None) -> Once | None:
        """Give the request's idempotency key, bound to its caller, method, route and content."""
        if self.idempotency_key is None:
            return None
        if caller is None:
            if self.claims is None:
                return None
            caller = str(self.claims.user_id)
        secret = derived_key(self.resources.settings.secret, "request-hash")
        scope = self.request.scope
        return Once(
            caller=caller,
            method=self.request.method,
            route=scope["route"].path,
            key=self.idempotency_key,
            request_hash=request_hash(secret, path=scope["path"], query=scope["query_string"], body=self._content()),
            vault=vault or ReplyVault(),
        )

    def _content(self) -> Any:
        """Give the body's JSON value; of a route that takes none, the bytes that came all the same, as text."""
        if hasattr(self.request, "_json"):
            return self.request._json  # noqa: SLF001 - StrictRequest and Starlette keep there what was read
        return getattr(self.request, "_body", b"").decode("latin-1")

    async def enter(self, session: AsyncSession) -> Act:
        """Let the caller in with the role that they have now.

        Raises:
            NotAuthenticated: the session was ended or revoked, or the user is gone.
            Forbidden: the role is not among those allowed.
        """
        act, _ = await self._come_in(session, None)
        return act

    async def _come_in(self, transaction: AsyncSession | Direct, once: Once | None) -> tuple[Act, Reply | None]:
        """Let the caller in, and give the reply that is stored under their key; None if they are to be served now.

        Raises:
            NotAuthenticated, Forbidden: as `enter`.
            KeyInProgress, KeyReused: as `Once.claimed`.
        """
        found = await enter(transaction, self.claims, once, admitted=self.allowed)
        act = self.act if self.claims is None else self.admit(found.role)
        return act, found.reply()

    def admit(self, role: Role | None) -> Act:
        """Let the caller in, if this role (None: no user, or no session) may come in here.

        Raises:
            NotAuthenticated, Forbidden: as `enter`.
        """
        if role is None:
            raise NotAuthenticated("The session has ended; log in again.")
        if role not in self.allowed:
            raise Forbidden(
                f"This is for {' or '.join(sorted(self.allowed))}s.",
                denial=AuditEntry(
                    action="access.role",
                    entity_type="route",
                    outcome="denied",
                    details={"method": self.request.method, "route": self.request.scope["route"].path},
                ),
            )
        return self._as(role)

    def _as(self, role: Role | None) -> Act:
        if self.claims is None or role is None:
            return self.act
        return self.act.by(Actor(self.claims.user_id, role, self.claims.session_id))

    def _entry(self) -> Entry:
        if self.claims is None:
            raise LookupError("a direct write needs a caller: its route must be for users")
        return Entry(self.claims.user_id, self.claims.session_id, self.once(), self.admit)

    def _problem_reply(self, problem: Problem) -> Reply:
        response = problem_response(problem, path=self.request.scope["path"])
        headers = problem.response_headers() | {"Content-Type": response.headers["content-type"]}
        return Reply(problem.status, bytes(response.body), headers)


def rendered(body: BaseModel | None, status: int, location: str | None) -> Reply:
    """Make the reply as it goes onto the wire and into the store."""
    headers = {"Location": location} if location else {}
    if body is None:
        return Reply(status, b"", headers)
    return Reply(status, body.model_dump_json().encode(), headers | {"Content-Type": "application/json"})
