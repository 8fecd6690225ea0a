"""What people do: each step says what is asked for, and what is learned from the answer. No network, no clock."""

from telemed_load.journeys import admins, doctors, patients, searches
from telemed_load.journeys.turn import Answer, Ask, Step, Turn, delayed, timeline

STEPS: dict[str, Step] = searches.STEPS | patients.STEPS | doctors.STEPS | admins.STEPS

__all__ = ["STEPS", "Answer", "Ask", "Step", "Turn", "delayed", "timeline"]
