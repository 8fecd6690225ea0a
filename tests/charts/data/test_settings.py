"""Numbers of the chart that are somebody else's as well: one truth each."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.charts.rendering import CHARTS, HelmFailed, Object, render, render_objects

COMPOSE = Path(__file__).parents[3] / "services" / "compose"
CHART = "telemed-data"

# Of pgbouncer-common.ini, what the operator decides: addresses, authentication, and that it is asked in its own words.
POOLER_IS_THE_OPERATORS = {
    "pool_mode",  # spec.pgbouncer.poolMode
    "listen_port",
    "unix_socket_dir",
    "auth_type",
    "auth_file",
    "stats_users",
    "ignore_startup_parameters",  # the operator sets extra_float_digits itself
}
# Of postgresql.conf, what the operator decides.
POSTGRES_IS_THE_OPERATORS = {
    "listen_addresses",
    "unix_socket_directories",
    "password_encryption",  # scram-sha-256 is PostgreSQL's default, and the operator hashes before it sends
    "log_timezone",
    "log_line_prefix",
    "synchronous_standby_names",
    "wal_level",
    "max_wal_senders",
    "max_replication_slots",
    "hot_standby",
}
# What follows the size of the machine.
POSTGRES_FOLLOWS_THE_SIZE = {
    "max_connections",
    "shared_buffers",
    "wal_keep_size",
    "max_slot_wal_keep_size",
    "max_wal_size",
}


def only(kind: str, *values: Any, name: str = "") -> Object:
    (found,) = (
        item
        for item in render_objects(CHART, *values)
        if item["kind"] == kind and (not name or item["metadata"]["name"] == name)
    )
    return found


@pytest.fixture(scope="module")
def of_the_file() -> dict[str, str]:
    """Settings of the poolers that compose and the twin run with."""
    text = (COMPOSE / "pgbouncer" / "pgbouncer-common.ini").read_text()
    return dict(re.findall(r"^(\w+) = ?(.*)$", text, re.MULTILINE))


def test_the_rw_pooler_has_the_settings_that_were_tested(of_the_file: dict[str, str]) -> None:
    """Each of the file is in the chart, and none that the file does not have."""
    pooler = only("Pooler", name="telemed-data-pooler-rw")["spec"]["pgbouncer"]
    tested = {name: value for name, value in of_the_file.items() if name not in POOLER_IS_THE_OPERATORS}
    assert pooler["parameters"] == tested
    assert pooler["poolMode"] == of_the_file["pool_mode"]


def test_the_ro_pooler_differs_in_what_it_says(of_the_file: dict[str, str]) -> None:
    """Its replicas take turns; nothing else was forgotten."""
    pooler = only("Pooler", name="telemed-data-pooler-ro")["spec"]["pgbouncer"]["parameters"]
    differences = {name: value for name, value in pooler.items() if of_the_file.get(name) != value}
    assert differences == {"server_round_robin": "1", "server_lifetime": "300"}


def test_postgres_has_the_settings_that_were_tested() -> None:
    """Each of compose's file is in the chart with the same value, follows the machine's size, or is the operator's."""
    text = (COMPOSE / "postgres" / "postgresql.conf").read_text()
    tested = {name: value.strip("'") for name, value in re.findall(r"^(\w+) = (.*)$", text, re.MULTILINE)}
    ours = only("Cluster")["spec"]["postgresql"]["parameters"]
    for name in tested.keys() - POSTGRES_IS_THE_OPERATORS:
        assert name in ours, name
        assert name in POSTGRES_FOLLOWS_THE_SIZE or ours[name] == tested[name], name
    assert not POSTGRES_IS_THE_OPERATORS & set(ours)


def test_versions_are_those_of_compose() -> None:
    """One version of each server, wherever it runs."""
    compose = (COMPOSE.parents[1] / "docker-compose.yml").read_text()
    values = yaml.safe_load((CHARTS / CHART / "values.yaml").read_text())
    for part in (values["poolers"]["image"], values["cache"]["image"]):
        repository = part["repository"].removeprefix("docker.io/")
        assert f"image: {repository}:{part['tag']}\n" in compose
    assert re.search(rf"image: postgres:{values['postgres']['image']['tag'].partition('-')[0]}-", compose)


def test_the_scripts_of_the_cache_are_sound() -> None:
    """They run in a shell of which nobody sees the mistakes."""
    scripts = sorted((CHARTS / CHART / "files" / "cache").glob("*.sh"))
    assert scripts
    program = Path(sys.executable).parent / "shellcheck"
    answer = subprocess.run(
        [program, "--external-sources", *(script.name for script in scripts)],
        cwd=scripts[0].parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout


def test_a_quorum_confirms_every_commit() -> None:
    """By default, and in production."""
    production = CHARTS / CHART / "examples" / "production.yaml"
    for values in ((), (production,)):
        spec = only("Cluster", *values)["spec"]
        assert spec["instances"] == 3
        assert spec["postgresql"]["synchronous"] == {
            "method": "any",
            "number": 1,
            "dataDurability": "required",
            "failoverQuorum": True,
        }


def test_the_archive_is_not_written_over_by_a_restore() -> None:
    """The restored database reads one folder and writes another."""
    values = {"restore": {"enabled": True, "serverName": "telemed-data"}}
    with pytest.raises(HelmFailed, match=r"restore\.serverName and backup\.serverName must differ"):
        render(CHART, values)
    spec = only("Cluster", values | {"backup": {"serverName": "telemed-data-2"}})["spec"]
    assert spec["plugins"][0]["parameters"]["serverName"] == "telemed-data-2"
    assert spec["externalClusters"][0]["plugin"]["parameters"]["serverName"] == "telemed-data"
    assert "initdb" not in spec["bootstrap"]


def test_named_credentials_replace_those_of_the_machine() -> None:
    """Both together would silently mean the machine's."""
    production = CHARTS / CHART / "examples" / "production.yaml"
    assert set(only("ObjectStore", production)["spec"]["configuration"]["s3Credentials"]) == {
        "accessKeyId",
        "secretAccessKey",
    }
    other = {"backup": {"objectStore": {"azureCredentials": {"inheritFromAzureAD": True}}}}
    assert "s3Credentials" not in only("ObjectStore", other)["spec"]["configuration"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"poolers": {"rw": {"instances": 4}}}, "4 pods (one more while rolling out) with 60 connections each are 300"),
        ({"poolers": {"ro": {"parameters": {"max_db_connections": "100"}}}}, "poolers.ro: 2 pods"),
        ({"postgres": {"maxConnections": 100}}, "leaves 80"),
        ({"poolers": {"ro": {"instances": 3}}}, "260 together, but postgres.maxConnections (260)"),
        ({"postgres": {"instances": 1}}, "writes would wait for ever"),
        ({"postgres": {"instances": 2}}, "failoverQuorum needs postgres.instances of 3"),
    ],
)
def test_numbers_that_contradict_each_other_are_refused(values: Any, message: str) -> None:
    """Before anything is installed, with a sentence that says which."""
    with pytest.raises(HelmFailed) as refusal:
        render(CHART, values)
    assert message in str(refusal.value)
