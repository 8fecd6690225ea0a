"""The arithmetic of `telemed capacity`: against numbers worked out by hand, and against its own bounds."""

import dataclasses
import json
import math

import pytest
import yaml
from typer.testing import CliRunner

from telemed.capacity.connections import LOOKOUT, Pooler, Processes, clients_of, excesses
from telemed.capacity.measured import Cost, Measured, read_measured
from telemed.capacity.plan import POOL_SIZE, Plan, plan
from telemed.capacity.traffic import PER_CONSULTATION
from telemed.cli import DEPLOYABLES, app
from telemed.kernel.settings import Settings


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["capacity", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def even(milliseconds: float) -> Measured:
    """Every request costs the same."""
    known = read_measured().costs
    costs = {name: Cost(cost.service, milliseconds / 1000, milliseconds / 2000) for name, cost in known.items()}
    return Measured(costs, {})


def test_a_hundred_thousand_consultations_are_thirty_five_requests_a_second() -> None:
    """100,000 × 30 ÷ 86,400 = 34.7, three times that at the peak."""
    wanted = plan(read_measured(), 100_000, 3)
    assert sum(PER_CONSULTATION.values()) == pytest.approx(30)
    assert wanted.average_per_second == pytest.approx(34.72, abs=0.01)
    assert wanted.peak_per_second == pytest.approx(104.17, abs=0.01)
    assert sum(service.peak_per_second for service in wanted.services) == pytest.approx(wanted.peak_per_second)


def test_replicas_are_cores_over_what_one_pod_gives_and_one_to_spare() -> None:
    """By hand: booking's 17.2 requests of a consultation, 100 a second at 5 ms, in pods that give 0.325 cores."""
    wanted = plan(even(5), 100 * 86_400, 1)
    (booking,) = [service for service in wanted.services if service.name == "booking"]
    assert booking.cores == pytest.approx(100 * 17.2 * 0.005)
    assert booking.at_peak == math.ceil(8.6 / 0.325) + 1
    assert booking.least == booking.at_peak  # the average is the peak here
    assert booking.most == 2 * booking.at_peak
    assert wanted.database_busy_cores == pytest.approx(100 * 30 * 0.0025)


@pytest.mark.parametrize("perday", [1, 10_000, 100_000, 1_000_000, 10_000_000])
@pytest.mark.parametrize("peak", [1, 3, 30])
def test_what_is_planned_never_exceeds_its_own_connections(perday: int, peak: int) -> None:
    """Whatever is asked for, every process and every pod of a pooler finds a connection."""
    wanted = plan(read_measured(), perday, peak)
    assert faults(wanted) == []
    for service in wanted.services:
        assert 2 <= service.least <= service.at_peak <= service.most
    assert wanted.pool_size >= POOL_SIZE == Settings.model_fields["database_pool_size"].default


@pytest.mark.parametrize(
    "change",
    ["most", "pool_size", "addresses", "default_pool_size", "reserve_pool_size", "instances", "surge", "roles"],
)
def test_each_number_counts(change: str) -> None:
    """Raise any one of them far enough and a bound is named that is exceeded; none is left out of the sums."""
    wanted = plan(read_measured(), 100_000, 3)
    kinds, poolers = wanted.processes, wanted.poolers
    if change in {"most", "pool_size"}:
        kinds = [dataclasses.replace(kind, **{change: 50 * getattr(kind, change)}) for kind in kinds]
    elif change == "addresses":
        kinds = [dataclasses.replace(kind, primary=20, replicas=20) for kind in kinds]
    else:
        # The bound over all roles would hide some of them, as it should; it has a test of its own.
        poolers = {
            side: dataclasses.replace(pooler, max_db_connections=0, **{change: 9 * getattr(pooler, change)})
            for side, pooler in poolers.items()
        }
    found = excesses(kinds, poolers, wanted.max_connections, wanted.reserved_connections)
    assert len(found) >= 1
    assert found[0].startswith("pooler-rw:" if change in {"most", "pool_size", "addresses"} else "PostgreSQL:")


@pytest.mark.parametrize(("max_connections", "reserved"), [(259, 20), (260, 21)])
def test_each_bound_counts(max_connections: int, reserved: int) -> None:
    """Too small a server is named, with how much is left."""
    wanted = plan(read_measured(), 100_000, 3)
    (found,) = excesses(wanted.processes, wanted.poolers, max_connections, reserved)
    assert found.startswith("PostgreSQL: 240 connections can come (180 by pooler-rw, 60 by pooler-ro)")


def test_the_bound_over_all_roles_counts() -> None:
    """max_db_connections holds a pooler back however many roles there are; 0 is no bound, as for PgBouncer."""
    pooler = Pooler(
        "p", 2, 1, roles=9, default_pool_size=16, reserve_pool_size=4, max_db_connections=60, max_client_conn=1
    )
    assert pooler.server_connections == 3 * 60
    assert dataclasses.replace(pooler, max_db_connections=0).server_connections == 3 * 9 * 20


def test_clients_are_counted_by_hand() -> None:
    """Two generations of three processes, each with a pool of 12 and a look-out for each of its addresses."""
    kind = Processes("auth", 3, 12, primary=2, replicas=1)
    assert (clients_of([kind], "primary"), clients_of([kind], "replicas")) == (2 * 3 * 13 * 2, 2 * 3 * 13)
    assert LOOKOUT == 1


def test_every_cost_is_used_and_known() -> None:
    """What is measured is what a consultation is said to ask, of services that exist."""
    costs = read_measured().costs
    assert costs.keys() == PER_CONSULTATION.keys()
    assert {cost.service for cost in costs.values()} == DEPLOYABLES.keys() - {"all"}
    assert all(cost.service_seconds > 0 for cost in costs.values())


def test_the_file_says_under_which_circumstances() -> None:
    """A number without them is worth nothing."""
    known = read_measured().circumstances
    assert {"date", "commit", "machine", "command", "load_average"} <= known.keys()
    assert known["date"] in run("--consultations-per-day", "1000")


def test_json_says_what_the_table_says() -> None:
    """For programs, with the circumstances."""
    said = json.loads(run("--consultations-per-day", "100000", "--format", "json"))
    assert said["peak_per_second"] == pytest.approx(104.17, abs=0.01)
    table = run("--consultations-per-day", "100000")
    for service in said["services"]:
        assert f"{service['name']} " in table
    assert f"max_connections {said['max_connections']}" in table


@pytest.mark.parametrize(
    "arguments", [["--consultations-per-day", "0"], ["--consultations-per-day", "9", "--peak-factor", "0"], []]
)
def test_nonsense_is_refused(arguments: list[str]) -> None:
    """No plan for nothing."""
    assert CliRunner().invoke(app, ["capacity", *arguments]).exit_code == 2


def test_values_are_yaml() -> None:
    """Both files; numbers for PgBouncer are texts, as the operator wants them."""
    ours = yaml.safe_load(run("--consultations-per-day", "5000000", "--format", "values"))
    assert ours["settings"]["DATABASE_POOL_SIZE"] >= POOL_SIZE
    data = yaml.safe_load(run("--consultations-per-day", "5000000", "--format", "values", "--chart", "telemed-data"))
    assert all(isinstance(value, str) for value in data["poolers"]["rw"]["parameters"].values())


def faults(wanted: Plan) -> list[str]:
    return excesses(wanted.processes, wanted.poolers, wanted.max_connections, wanted.reserved_connections)
