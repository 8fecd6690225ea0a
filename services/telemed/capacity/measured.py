"""Reads measured.toml, the one file that knows what a request costs."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("measured.toml")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one request costs, in seconds of CPU: of the service that answers, and of PostgreSQL."""

    service: str
    service_seconds: float
    database_seconds: float


@dataclass(frozen=True, slots=True)
class Measured:
    """The costs by name, and the circumstances under which they were measured."""

    costs: dict[str, Cost]
    circumstances: dict[str, str]


def read_measured(file: Path = FILE) -> Measured:
    """Read the file."""
    content = tomllib.loads(file.read_text(encoding="utf-8"))
    costs = {
        name: Cost(entry["service"], entry["service_cpu_ms"] / 1000, entry["database_cpu_ms"] / 1000)
        for name, entry in content["costs"].items()
    }
    return Measured(costs, {key: str(value) for key, value in content["measured"].items()})
