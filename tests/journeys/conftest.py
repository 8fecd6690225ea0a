"""What journeys over the whole API start from."""

import asyncpg
import pytest
from tests.support.clinic import Clinic
from tests.support.people import People
from tests.support.scenes import Scenes

from telemed.kernel.clock import ManualClock


@pytest.fixture
def scenes(people: People, clinic: Clinic, clock: ManualClock, owner: asyncpg.Connection) -> Scenes:
    """Sets up what each operation needs, through `api`."""
    return Scenes(people, clinic, clock, owner)
