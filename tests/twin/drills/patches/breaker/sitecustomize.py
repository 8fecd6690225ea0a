"""Takes the breakers of database and cache away in every process that finds this folder on its path."""

from telemed.kernel.cache import breaker
from telemed.kernel.replication import availability

if not (hasattr(availability, "OPENS_AFTER") and hasattr(breaker.Breaker, "may_try")):
    raise SystemExit("the breakers have other names now: tests/twin/drills/patches/breaker")

availability.OPENS_AFTER = 10**9
breaker.Breaker.may_try = lambda self: True  # type: ignore[method-assign]
