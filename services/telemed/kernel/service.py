"""What a service is to those who assemble it: routes, problems of its constraints, jobs, subscriptions, parts."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter

from telemed.kernel.jobs import Job
from telemed.kernel.outbox import Subscription
from telemed.kernel.priority import Priority
from telemed.kernel.problems import Problem
from telemed.kernel.resources import Resources

if TYPE_CHECKING:  # the edge knows services, not the other way round
    from telemed.kernel.http.express import Memory

Parts = Mapping[type, Any]  # keyed by type, see Resources.part


@dataclass(frozen=True)
class Service:
    """A deployable HTTP API, described so that one process can run one, or all of them."""

    name: str
    title: str
    routers: tuple[APIRouter, ...] = ()
    constraint_problems: Mapping[str, type[Problem]] = field(default_factory=dict)
    # By method and path as the route has them, such as "POST /booking/slots/book"; what is not named is NORMAL.
    priorities: Mapping[str, Priority] = field(default_factory=dict)
    # What answers GET requests of a path from memory (kernel/http/express.py); made by `open_parts`.
    memories: Mapping[str, type["Memory"]] = field(default_factory=dict)
    # Requests that are hot enough to pass FastAPI by (kernel/http/straight.py), by method and path.
    straight: tuple[str, ...] = ()
    jobs: tuple[Job, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
    # Opens what the service alone needs (an executor, a cache of its own) and closes it at the end.
    open_parts: Callable[[Resources], AbstractAsyncContextManager[Parts]] | None = None
