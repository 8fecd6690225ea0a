"""Every invariant, by theme."""

from collections.abc import Collection
from types import ModuleType

from tests.charts.invariants import (
    cache,
    cluster,
    database,
    edges,
    environment,
    files,
    hooks,
    images,
    lifecycle,
    monitoring,
    names,
    network,
    pods,
    poolers,
    ports,
    probes,
    routing,
    scaling,
    secrets,
    security,
    selectors,
)
from tests.charts.invariants.invariant import Invariant, Violation
from tests.charts.invariants.objects import Rendering

THEMES: dict[str, ModuleType] = {
    "names": names,
    "selectors": selectors,
    "security": security,
    "secrets": secrets,
    "environment": environment,
    "files": files,
    "images": images,
    "ports": ports,
    "probes": probes,
    "lifecycle": lifecycle,
    "scaling": scaling,
    "pods": pods,
    "network": network,
    "edges": edges,
    "routing": routing,
    "hooks": hooks,
    "monitoring": monitoring,
    "database": database,
    "poolers": poolers,
    "cache": cache,
    "cluster": cluster,
}


def of_theme(theme: ModuleType) -> list[Invariant]:
    """Give the invariants of a module, in its order."""
    return [one for one in vars(theme).values() if isinstance(one, Invariant)]


INVARIANTS = [one for theme in THEMES.values() for one in of_theme(theme)]


def violations(rendering: Rendering, *, allowed: Collection[str] = ()) -> list[Violation]:
    """Say everything that is wrong with the rendering; what *allowed* names is not looked at."""
    return [
        violation
        for invariant in INVARIANTS
        if invariant.name not in allowed
        for violation in invariant.violations(rendering)
    ]
