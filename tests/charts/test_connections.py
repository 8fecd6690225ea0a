"""No combination of replicas and pools can ask for more connections than there are: charts, compose file and twin."""

import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.charts.rendering import CHARTS, Object, render_objects
from tests.twin.assembly import POOL_SIZE
from tests.twin.postgres import SETTINGS as TWIN_POSTGRES
from tests.twin.services import COPIES, SERVICES

from telemed.capacity.connections import Pooler, Processes, excesses
from telemed.kernel.settings import Settings

ROOT = Path(__file__).parents[2]
PRIMARY = {"DATABASE_URL", "AUDITOR_DATABASE_URL", "WORKER_DATABASE_URL"}
REPLICAS = "REPLICA_DATABASE_URLS"
# Who logs in: three roles to the primary, and all of them as the services' to the replicas.
ROLES = {"rw": 3, "ro": 1}
SIDES = {"rw": "primary", "ro": "replicas"}
# What the shapes of both charts are called, default values and examples of the same name.
SHAPES = ["", *sorted({path.name for path in CHARTS.glob("telemed-data/examples/*.yaml")})]


def rendered(chart: str, shape: str, *values: dict[str, Any]) -> list[Object]:
    file = CHARTS / chart / "examples" / shape
    given = [file] if shape and file.exists() else []
    return render_objects(chart, *given, *values)


def of_kind(objects: list[Object], *kinds: str) -> Iterator[Object]:
    return (one for one in objects if one["kind"] in kinds)


def processes(objects: list[Object], standbys: int) -> list[Processes]:
    """Count the pods of each Deployment that there can be, and the addresses that each is given."""
    scaled = {
        one["spec"]["scaleTargetRef"]["name"]: one["spec"].get("maxReplicas") or one["spec"]["maxReplicaCount"]
        for one in of_kind(objects, "HorizontalPodAutoscaler", "ScaledObject")
    }
    found = []
    for deployment in of_kind(objects, "Deployment"):
        name = deployment["metadata"]["name"]
        variables = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
        plain = {one["name"]: one.get("value", "") for one in variables}
        default = Settings.model_fields["database_pool_size"].default
        found.append(
            Processes(
                name,
                most=int(scaled.get(name) or deployment["spec"]["replicas"]),
                pool_size=int(plain.get("DATABASE_POOL_SIZE", default)),
                primary=len(PRIMARY & plain.keys()),
                # The address of all replicas, named once for each of them (decision 0018).
                replicas=standbys if REPLICAS in plain else 0,
            )
        )
    return found


def poolers(objects: list[Object]) -> dict[str, Pooler]:
    found = {}
    for one in of_kind(objects, "Pooler"):
        spec, side = one["spec"], one["spec"]["type"]
        parameters = spec["pgbouncer"]["parameters"]
        surge = spec.get("deploymentStrategy", {}).get("rollingUpdate", {}).get("maxSurge", "25%")
        found[SIDES[side]] = Pooler(
            name=one["metadata"]["name"],
            instances=spec["instances"],
            surge=surge if isinstance(surge, int) else math.ceil(spec["instances"] * int(surge.rstrip("%")) / 100),
            roles=ROLES[side],
            default_pool_size=int(parameters["default_pool_size"]),
            reserve_pool_size=int(parameters.get("reserve_pool_size", 0)),
            max_db_connections=int(parameters.get("max_db_connections", 0)),
            max_client_conn=int(parameters["max_client_conn"]),
        )
    return found


def of_charts(shape: str, ours: dict[str, Any] | None = None, data: dict[str, Any] | None = None) -> list[str]:
    """Look at what both charts become, with these values on top."""
    database = rendered("telemed-data", shape, data or {})
    (cluster,) = of_kind(database, "Cluster")
    standbys = cluster["spec"]["instances"] - 1
    return excesses(
        processes(rendered("telemed", shape, ours or {}), standbys),
        poolers(database),
        int(cluster["spec"]["postgresql"]["parameters"]["max_connections"]),
        20,  # the chart's `postgres.reservedConnections`, which no object shows
        sides_meet=standbys > 0,
    )


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape or "default")
def test_the_charts_have_room(shape: str) -> None:
    """At the autoscalers' most, in the middle of a rollout of the application and of the poolers."""
    assert of_charts(shape) == []


@pytest.mark.parametrize(
    ("ours", "data", "named"),
    [
        ({"defaults": {"autoscaling": {"maxReplicas": 60}}}, {}, "telemed-data-pooler-r"),
        ({"settings": {"DATABASE_POOL_SIZE": 100}}, {}, "telemed-data-pooler-r"),
        ({}, {"poolers": {"parameters": {"max_client_conn": "500"}}}, "telemed-data-pooler-r"),
    ],
    ids=["replicas", "pool size", "max_client_conn"],
)
def test_a_number_that_is_raised_is_noticed(ours: dict[str, Any], data: dict[str, Any], named: str) -> None:
    """By the charts themselves where they can see both sides, and here in any case."""
    # What the chart refuses by itself is looked at all the same.
    found = of_charts("", {**ours, "database": {"maxClientConnections": 0}}, data)
    assert any(sentence.startswith(named) for sentence in found)


@pytest.mark.parametrize(
    "change",
    [
        {"instances": 9},
        {"surge": 9},
        {"default_pool_size": 99, "max_db_connections": 0},
        {"reserve_pool_size": 99, "max_db_connections": 0},
        {"roles": 99, "max_db_connections": 0},
    ],
    ids="+".join,
)
def test_a_pooler_that_grows_is_noticed(change: dict[str, Any]) -> None:
    """Each of its numbers, with the server as it is."""
    database = rendered("telemed-data", "")
    (cluster,) = of_kind(database, "Cluster")
    grown = {side: replace(pooler, **change) for side, pooler in poolers(database).items()}
    most = int(cluster["spec"]["postgresql"]["parameters"]["max_connections"])
    assert any(sentence.startswith("PostgreSQL") for sentence in excesses([], grown, most, 20))


def test_the_compose_file_has_room() -> None:
    """Two of each service through the two PgBouncers; nobody promotes, so the sides never meet on one server."""
    services = compose_services()
    kinds = [compose_processes(name, services[name]) for name in (*SERVICES, "worker")]
    assert {kind.name: kind.most for kind in kinds} == {"auth": 2, "booking": 2, "consultation": 2, "worker": 1}
    text = (ROOT / "services" / "compose" / "postgres" / "postgresql.conf").read_text()
    (most,) = re.findall(r"^max_connections = (\d+)$", text, re.MULTILINE)
    assert excesses(kinds, shipped_poolers(), int(most), 20, sides_meet=False) == []
    # Against a number that was forgotten above.
    assert excesses(kinds, shipped_poolers(), 50, 20, sides_meet=False)


def test_the_twin_has_room() -> None:
    """A replica that was promoted has both sides' connections for a while."""
    kinds = [Processes(name, COPIES, POOL_SIZE, 2 if name == "auth" else 1, 2) for name in (*SERVICES, "worker")]
    most = int(TWIN_POSTGRES["max_connections"])
    assert excesses(kinds, shipped_poolers(), most, 20) == []
    assert excesses(kinds, shipped_poolers(), most // 2, 20)


def shipped_poolers() -> dict[str, Pooler]:
    """Read the PgBouncers' file that compose and twin share; one process each, which is replaced, never surged."""
    parser = ConfigParser(interpolation=None, inline_comment_prefixes=None)
    file = ROOT / "services" / "compose" / "pgbouncer" / "pgbouncer-common.ini"
    parser.read_string("[pgbouncer]\n" + re.sub(r"^\[.*\]$|^%.*$", "", file.read_text(), flags=re.MULTILINE))
    ini = {name: int(value) for name, value in parser["pgbouncer"].items() if value.isdigit()}
    return {
        side: Pooler(
            name,
            instances=1,
            surge=0,
            roles=ROLES[name],
            default_pool_size=ini["default_pool_size"],
            reserve_pool_size=ini["reserve_pool_size"],
            max_db_connections=ini["max_db_connections"],
            max_client_conn=ini["max_client_conn"],
        )
        for name, side in SIDES.items()
    }


def compose_processes(name: str, service: dict[str, Any]) -> Processes:
    environment = service["environment"]
    default = Settings.model_fields["database_pool_size"].default
    return Processes(
        name,
        most=service.get("deploy", {}).get("replicas", 1),
        pool_size=int(environment.get("DATABASE_POOL_SIZE") or default),
        primary=2 if name == "auth" else 1,
        replicas=len(environment[REPLICAS].split(",")),
    )


def compose_services() -> dict[str, Any]:
    """Read docker-compose.yml as Compose does."""
    program = Path(sys.executable).parent / "docker-compose"
    files = ["--file", str(ROOT / "docker-compose.yml"), "--env-file", str(ROOT / ".env.example")]
    answer = subprocess.run(
        [str(program), *files, "config", "--format", "json"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
    )
    services: dict[str, Any] = json.loads(answer.stdout)["services"]
    return services
