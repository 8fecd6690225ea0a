"""What the generator is told to do: a file for the one process, or the master; messages for its workers."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from telemed_load.measurements import Measurements
from telemed_load.people import Population
from telemed_load.profile import Mix, Profile
from telemed_load.shapes import Schedule

JOB_VARIABLE = "TELEMED_LOAD_JOB"  # names the file


@dataclass(frozen=True)
class Job:
    """A load, ready to begin. It holds tokens: its file is for its owner's eyes, and goes when the load is over."""

    schedule: Schedule
    population: Population
    url: str
    metrics: list[str]
    result: str  # where what was measured is to be written

    def with_population(self, population: Population) -> "Job":
        """Give the same job for other people: one worker's."""
        return replace(self, population=population)

    def to_json(self) -> dict[str, Any]:
        """Write it down."""
        return {
            "profile": self.schedule.profile.model_dump(),
            "mix": self.schedule.mix.model_dump(),
            "scale": self.schedule.scale,
            "population": self.population.to_json(),
            "url": self.url,
            "metrics": self.metrics,
            "result": self.result,
        }

    @classmethod
    def from_json(cls, written: dict[str, Any]) -> "Job":
        """Read what `to_json` wrote."""
        profile, mix = Profile.model_validate(written["profile"]), Mix.model_validate(written["mix"])
        population = Population.from_json(written["population"])
        schedule = Schedule(profile, mix, written["scale"])
        return cls(schedule, population, written["url"], written["metrics"], written["result"])

    def write(self, file: Path) -> None:
        """Write the file."""
        file.touch(mode=0o600)
        file.write_text(json.dumps(self.to_json()), encoding="utf-8")

    @classmethod
    def read(cls, file: Path) -> "Job":
        """Read the file."""
        return cls.from_json(json.loads(file.read_text(encoding="utf-8")))

    @staticmethod
    def read_result(file: Path) -> Measurements:
        """Read what `write_result` wrote."""
        return Measurements.from_json(json.loads(file.read_text(encoding="utf-8")))

    def write_result(self, measured: Measurements) -> None:
        """Write what was measured: whole or not at all."""
        target = Path(self.result)
        draft = target.with_name(f".{target.name}.draft")
        draft.write_text(json.dumps(measured.to_json()), encoding="utf-8")
        draft.replace(target)
