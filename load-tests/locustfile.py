"""What Locust loads: `python -m telemed_load` starts it; on its own it has no people and no profile."""

from telemed_load.generator import Person

__all__ = ["Person"]
