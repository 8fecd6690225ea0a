"""The settings and the instant that tests start from."""

from datetime import UTC, datetime
from typing import Any

from pydantic import SecretStr
from tests.support.databases import TestDatabase

from telemed.kernel.settings import Settings

# A Monday morning; no test depends on the day on which it runs.
NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
JWT_SECRET = "only-for-tests-" + "0123456789" * 3


def make_settings(database: TestDatabase | None = None, redis_url: str | None = None, **changes: Any) -> Settings:
    """Give settings on this database and cache; *changes* are fields of `Settings`."""
    values: dict[str, object] = {
        "_env_file": None,
        # The machine that runs the tests is busy with them, and stands still now and then; the bounds themselves have
        # tests of their own. Redis' is the largest: where the clock stands still, one late answer is doubted for good.
        "redis_timeout_seconds": 5.0,
        "database_pool_timeout_seconds": 12.0,
        "jwt_secret": SecretStr(JWT_SECRET),
        "bcrypt_cost": 4,
        # Nobody stands before the processes of a test who asks whether they are ready.
        "drain_seconds": 0.0,
    }
    if database is not None:
        values |= {
            "database_url": SecretStr(database.services),
            "auditor_database_url": SecretStr(database.auditor),
            "worker_database_url": SecretStr(database.worker),
            "owner_database_url": SecretStr(database.owner),
        }
    if redis_url is not None:
        values["redis_url"] = SecretStr(redis_url)
    return Settings(**(values | changes))  # type: ignore[arg-type]  # pydantic checks the keywords
