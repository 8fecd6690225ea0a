"""Configuration: every value is an environment variable, read and checked once, at start."""

import os
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar
from urllib.parse import quote

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from telemed.kernel.cache.addresses import AddressProblem, parse_address

# `make run` writes what it started into this file, so that every `telemed` command of the checkout finds it.
LOCAL_PLATFORM_FILE = Path(os.environ.get("TELEMED_HOME") or ".telemed") / "platform.env"


LoadedT = TypeVar("LoadedT", bound="DatabaseLogins")


class SettingsProblem(Exception):
    """A setting is missing or wrong; the message is the one sentence that the operator sees."""


class DatabaseLogins(BaseSettings):
    """Where the database is, for each role. All that a migration is told: it knows no key and no token."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    environment: Literal["local", "production"] = "local"

    # Postgres: either one address for each database role, or the plain POSTGRES_* of an .env for all of them.
    postgres_host: str = "localhost"
    postgres_port: int = Field(default=5432, ge=1, le=65535)
    postgres_user: str = "telemed"
    postgres_password: SecretStr = SecretStr("")
    postgres_db: str = "telemed"
    database_url: SecretStr | None = None  # the services: may only insert into the audit trail
    auditor_database_url: SecretStr | None = None  # the audit API: may read the trail
    worker_database_url: SecretStr | None = None  # the jobs: may read the trail and extend the chain
    owner_database_url: SecretStr | None = None  # migrations: owns the tables; direct, never through a pooler

    @property
    def services_database(self) -> str:
        """Address that the HTTP services use."""
        return _plain(self.database_url) or self._postgres_url

    @property
    def auditor_database(self) -> str:
        """Address with which the audit API reads the trail."""
        return _plain(self.auditor_database_url) or self.services_database

    @property
    def worker_database(self) -> str:
        """Address that the worker's jobs use."""
        return _plain(self.worker_database_url) or self.services_database

    @property
    def owner_database(self) -> str:
        """Direct address of the owner of the tables, for migrations."""
        return _plain(self.owner_database_url) or self.services_database

    @property
    def _postgres_url(self) -> str:
        user, password = quote(self.postgres_user, safe=""), quote(self.postgres_password.get_secret_value(), safe="")
        credentials = f"{user}:{password}" if password else user
        return (
            f"postgresql://{credentials}@{self.postgres_host}:{self.postgres_port}/{quote(self.postgres_db, safe='')}"
        )


class Settings(DatabaseLogins):
    """What an operator can decide. Names are those of the environment, in lower case."""

    # Standbys, through a pooler or not; none: the primary serves every read. Where several stand behind one address,
    # it is named as often as there are standbys: each mention is one try.
    replica_database_urls: Annotated[list[SecretStr], NoDecode] = []
    replica_wait_seconds: float = Field(default=0.05, ge=0, le=1)  # for one that is nearly there
    replica_max_lag_seconds: float = Field(default=10.0, gt=0, le=60)  # one further behind is asked by nobody
    primary_fallback_reads: int = Field(default=4, ge=1, le=200)  # at once, in the replicas' stead; the rest is writes'
    database_pool_size: int = Field(default=12, ge=1, le=200)  # 8-16 per Postgres core measured best
    database_pool_timeout_seconds: float = Field(default=3.0, gt=0, le=60)
    database_connect_timeout_seconds: float = Field(default=3.0, gt=0, le=60)
    database_command_timeout_seconds: float = Field(default=10.0, gt=0, le=600)

    redis_host: str = "localhost"
    redis_port: int = Field(default=6379, ge=1, le=65535)
    # The scheme says how Redis is run: redis://, redis+sentinel:// or redis+cluster:// (kernel/cache/addresses.py).
    redis_url: SecretStr | None = None
    # A search asks Redis two or three times, so a frozen server costs it 150 ms once, below the 200 ms that reads are
    # promised in; an answer takes one or two, so a stall of the network or of this process has room.
    redis_timeout_seconds: float = Field(default=0.05, gt=0, le=5)

    host: str = "127.0.0.1"
    port: int = Field(default=3000, ge=0, le=65535)
    # Probes and metrics move to this port when it is set (as in the cluster); otherwise they share `port`.
    management_port: int | None = Field(default=None, ge=0, le=65535)
    # Addresses whose X-Forwarded-For is believed. Everybody else is who the socket says.
    trusted_proxies: Annotated[list[str], NoDecode] = []
    max_body_bytes: int = Field(default=256 * 1024, ge=1024)
    keep_alive_seconds: int = Field(default=75, ge=1)  # longer than the 60 s of common load balancers
    # For how long SIGTERM keeps serving while nobody is to send anything more: two checks of readiness, a second apart.
    drain_seconds: float = Field(default=3.0, ge=0, le=300)
    shutdown_grace_seconds: int = Field(default=25, ge=1)
    # Requests in one process at once. Five hundred people who want one slot all get in, as the losers among them leave
    # at a look; and whoever waits for a connection is bounded by the pool's time-out. Searches get 0.6 of it: more than
    # twenty times as many as the pool has connections.
    admission_limit: int = Field(default=640, ge=1, le=100_000)
    # Longer than any bound inside (statement 10 s, COMMIT 8 s), shorter than the patience of proxies (30-60 s).
    request_deadline_seconds: float = Field(default=15.0, gt=0, le=3600)

    # Identity
    jwt_secret: SecretStr | None = None
    jwt_algorithm: Literal["HS256", "EdDSA"] = "HS256"
    jwt_private_key_file: Path | None = None  # auth alone holds it
    jwt_public_key_files: Annotated[list[Path], NoDecode] = []  # what verifiers accept; more than one while rotating
    jwt_issuer: str = "https://telemed.local"
    jwt_audience: str = "telemed-api"
    access_token_seconds: int = Field(default=600, ge=5, le=3600)
    refresh_token_seconds: int = Field(default=30 * 24 * 3600, ge=60)
    refresh_grace_seconds: float = Field(default=10.0, ge=0, le=120)
    # Secret of the password pre-hash, the refresh tokens and the idempotency keys. Derived from JWT_SECRET if absent.
    pepper: SecretStr | None = None
    bcrypt_cost: int = Field(default=12, ge=4, le=16)
    bcrypt_threads: int = Field(default=1, ge=1, le=64)
    bcrypt_queue: int = Field(default=32, ge=1, le=10_000)  # logins that may wait for a thread; more are refused

    visit_opens_before_minutes: int = Field(default=15, ge=0, le=24 * 60)
    search_fresh_seconds: float = Field(default=10.0, gt=0)
    # Below the time for which search remembers what is gone (booking/slots/keys.py: GONE_WINDOW).
    search_stale_seconds: float = Field(default=240.0, gt=0, le=270)
    idempotency_keep_hours: int = Field(default=24, ge=1)

    # Months of trail, outbox and history that are made before they begin.
    partitions_ahead_months: int = Field(default=3, ge=1, le=24)
    # Whole months that must have passed before one may be retired. A trail that can be thrown away after weeks proves
    # nothing; events may be asked for until the month after theirs is over.
    audit_keep_months: int = Field(default=84, ge=12)
    outbox_keep_months: int = Field(default=2, ge=1)
    history_keep_months: int = Field(default=84, ge=12)

    # Ed25519 key (PEM) with which exported checkpoints are signed. Belongs to whoever exports, not to the services.
    audit_signing_key_file: Path | None = None

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    # Base address of an OTLP receiver over HTTP (OpenTelemetry's own variable); unset: no spans are sent.
    otel_exporter_otlp_endpoint: str | None = Field(default=None, pattern=r"^https?://[^\s/]+(/\S*)?$")
    trace_directory: Path | None = None  # spans go into files here, for `telemed trace`; `make run` sets it
    trace_sample_ratio: float = Field(default=0.1, ge=0, le=1)  # of requests whose caller has not decided
    trace_slow_seconds: float = Field(
        default=1.0, gt=0
    )  # what takes longer is kept, sampled or not; the tail's objective
    revision: str = "unknown"  # the commit that runs; the image sets it

    @model_validator(mode="before")
    @classmethod
    def _split_lists(cls, values: dict[str, object]) -> dict[str, object]:
        for name in ("trusted_proxies", "jwt_public_key_files", "replica_database_urls"):
            value = values.get(name)
            if isinstance(value, str):
                values[name] = [part.strip() for part in value.split(",") if part.strip()]
        return values

    @model_validator(mode="after")
    def _understand_redis(self) -> Self:
        try:
            parse_address(self.redis_address)
        except AddressProblem as problem:
            raise ValueError(f"{'REDIS_HOST' if self.redis_url is None else 'REDIS_URL'} {problem}") from problem
        return self

    @model_validator(mode="after")
    def _require_key_material(self) -> Self:
        if self.jwt_algorithm == "EdDSA":
            if not self.jwt_public_key_files:
                raise ValueError("JWT_PUBLIC_KEY_FILES must name the public key files when JWT_ALGORITHM is EdDSA")
            if self.pepper is None:
                raise ValueError("PEPPER must be set when JWT_ALGORITHM is EdDSA")
        elif self.jwt_secret is None or len(self.jwt_secret.get_secret_value()) < 32:
            raise ValueError("JWT_SECRET must be set to at least 32 characters")
        return self

    def keep_months(self, of_table: Literal["audit", "outbox", "history"]) -> int:
        """How many whole months a month of this table is kept after its end."""
        return {
            "audit": self.audit_keep_months,
            "outbox": self.outbox_keep_months,
            "history": self.history_keep_months,
        }[of_table]

    @property
    def replica_databases(self) -> list[str]:
        """Addresses of the standbys."""
        return [url.get_secret_value() for url in self.replica_database_urls]

    @property
    def redis_address(self) -> str:
        """Address of the cache."""
        return _plain(self.redis_url) or f"redis://{self.redis_host}:{self.redis_port}/0"

    @cached_property
    def secret(self) -> bytes:
        """Key material from which each purpose derives its own key (`derived_key`)."""
        source = self.pepper or self.jwt_secret
        assert source is not None, "guaranteed by _require_key_material"  # noqa: S101 - narrows the type only
        return source.get_secret_value().encode()

    @property
    def access_token_lifetime(self) -> timedelta:
        """How long an access token is valid."""
        return timedelta(seconds=self.access_token_seconds)


def _plain(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None


def load_settings() -> Settings:
    """Read the environment; what it does not say comes from the platform that `make run` started, if any.

    Raises:
        SettingsProblem: with one sentence that names the variable.
    """
    return _load(Settings)


def load_logins() -> DatabaseLogins:
    """Read only where the database is, from the same places.

    Raises:
        SettingsProblem: with one sentence that names the variable.
    """
    return _load(DatabaseLogins)


def _load(kind: type[LoadedT]) -> LoadedT:
    try:
        return kind(_env_file=None if _means_another_database() else LOCAL_PLATFORM_FILE)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]).upper()
        message = first["msg"].removeprefix("Value error, ")
        raise SettingsProblem(f"{name}: {message}." if name else f"{message}.") from error


def _means_another_database() -> bool:
    """Tell whether the environment names another database than the platform of this checkout has.

    Then nothing of that platform's file may be used: its PEPPER on the other database would make password hashes
    that nobody can ever match.
    """
    own = dotenv_values(LOCAL_PLATFORM_FILE).get("DATABASE_URL")
    given = os.environ.get("DATABASE_URL")
    if own is None or given == own:
        return False
    return given is not None or "POSTGRES_HOST" in os.environ
