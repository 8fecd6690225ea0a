"""What docker-compose.yml says: read as `docker compose` reads it, and held to the rules that its header promises."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from telemed.cli import DEPLOYABLES
from telemed.kernel.settings import Settings
from telemed.local import roles

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
COMPOSE = ROOT / "services" / "compose"
PROGRAM = Path(sys.executable).parent / "docker-compose"
OUTSIDE = {"gateway", "grafana"}  # who may publish a port
OF_LIBRARIES = {"ssl_cert_file"}  # variables that are read below us
OWN_IMAGE = "telemed:"
# Of PgBouncer, older ones leave out a check of the client's login (CVE-2026-6664).
OLDEST_POOLER = (1, 25, 2)
Parts = dict[str, Any]


@pytest.fixture(scope="module")
def project() -> Parts:
    """The whole file with every profile, as Compose understands it with nothing but the example's environment."""
    arguments = [str(PROGRAM), "--file", str(FILE), "--env-file", str(ROOT / ".env.example")]
    answer = subprocess.run(
        [*arguments, "--profile", "*", "config", "--format", "json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == ""  # a variable without a value, say
    parts: Parts = json.loads(answer.stdout)
    return parts


@pytest.fixture(scope="module")
def services(project: Parts) -> Parts:
    services: Parts = project["services"]
    return services


def is_job(service: Parts) -> bool:
    return bool(service.get("restart") == "no")


def lasting(services: Parts) -> Iterator[tuple[str, Parts]]:
    return ((name, service) for name, service in services.items() if not is_job(service))


def test_whatever_lasts_says_whether_it_is_well(services: Parts) -> None:
    """`up --wait` and `depends_on` know nothing without a health check."""
    for name, service in lasting(services):
        assert service["healthcheck"]["test"] not in (["NONE"], []), name
        assert not service["healthcheck"].get("disable"), name


def test_jobs_are_waited_for_by_their_end(services: Parts) -> None:
    """A job that failed stops the start, where somebody depends on it; everybody else is waited for until well."""
    for name, service in services.items():
        for needed, condition in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if is_job(services[needed]) else "service_healthy"
            assert condition["condition"] == wanted, f"{name} → {needed}"


def test_no_job_is_left_alone(services: Parts) -> None:
    """`up --wait` takes the end of a job that nobody depends on for a failure, however well it ended."""
    waited_for = {needed for service in services.values() for needed in service.get("depends_on", {})}
    jobs = {name for name, service in services.items() if is_job(service)}
    assert jobs - waited_for == {"seed"}  # which is started by `run` only


def test_images_are_exact(services: Parts) -> None:
    """A name that may mean something else tomorrow is no version: three numbers, or a digest."""
    for name, service in services.items():
        tag = service["image"].rpartition(":")[2]
        assert "@sha256:" in service["image"] or re.match(r"v?\d+\.\d+(\.\d+)?(-\w+)?$", tag), name
        if not service["image"].startswith("postgres:"):  # Postgres counts with two
            assert len(tag.split(".")) == 3, name


def test_the_image_is_built_on_exact_ones() -> None:
    """As in the compose file."""
    text = (ROOT / "services" / "Dockerfile").read_text()
    for image in re.findall(r"^ARG \w+_IMAGE=(\S+)$", text, re.MULTILINE):
        assert re.search(r":\d+\.\d+\.\d+(-[\w-]+)?$", image), image
    stages = re.findall(r"^FROM .* AS (\w+)$", text, re.MULTILINE)
    assert set(re.findall(r"^FROM ([^$ ]+)", text, re.MULTILINE)) <= set(stages)


def test_the_pooler_has_its_fix(services: Parts) -> None:
    """CVE-2026-6664."""
    for name in ("pgbouncer-rw", "pgbouncer-ro"):
        version = services[name]["image"].rpartition(":")[2]
        assert tuple(int(part) for part in version.split(".")) >= OLDEST_POOLER


def test_only_the_gateway_and_grafana_can_be_reached(project: Parts, services: Parts) -> None:
    """Ports are of this machine only; everybody else has networks that lead nowhere."""
    assert {name for name, service in services.items() if service.get("ports")} == OUTSIDE
    for name in OUTSIDE:
        assert [port["host_ip"] for port in services[name]["ports"]] == ["127.0.0.1"], name
    for name, service in services.items():
        networks = set(service.get("networks") or ())
        assert networks or service["network_mode"] == "none"
        open_ones = {network for network in networks if not project["networks"][network].get("internal")}
        assert bool(open_ones) == (name in OUTSIDE), name


def test_nobody_has_more_power_than_they_need(services: Parts) -> None:
    """Read-only, without capabilities, not root: also what is not ours."""
    jobs_of_root = {"certificate", "postgres-roles"}  # they fill volumes that are root's when they are made
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["deploy"]["resources"]["limits"]["memory"], name
        assert service.get("cap_add", []) == (["CHOWN"] if name == "certificate" else []), name
        if not service["image"].startswith(OWN_IMAGE) or "user" in service:
            assert (service["user"].split(":")[0] == "0") == (name in jobs_of_root), name
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", (ROOT / "services" / "Dockerfile").read_text(), re.MULTILINE)


def test_files_that_are_mounted_are_there_and_cannot_be_changed(services: Parts) -> None:
    """Docker makes an empty folder of a path that is missing, without a word."""
    for name, service in services.items():
        for volume in service.get("volumes", []):
            if volume["type"] == "bind":
                assert Path(volume["source"]).exists(), f"{name}: {volume['source']}"
                assert volume["read_only"] is True, name


def test_what_the_application_is_told_is_a_setting(services: Parts) -> None:
    """A misspelt name would be ignored without a word."""
    for name, service in services.items():
        if service["image"].startswith(OWN_IMAGE) and name != "certificate":
            given = {variable.lower() for variable in service["environment"]}
            assert given <= set(Settings.model_fields) | OF_LIBRARIES, name


def test_the_application_accepts_what_it_is_told(services: Parts) -> None:
    """With the example's values, as it is with a user's."""
    for name in ("auth", "booking", "consultation", "worker", "migrate", "seed"):
        values = {key.lower(): value for key, value in services[name]["environment"].items() if value}
        settings = Settings(**values)
        assert settings.management_port == 9000
        assert len(settings.replica_databases) == 2


def test_every_deployable_is_deployed(services: Parts) -> None:
    """By its own name, as the gateway and Prometheus look for it by that."""
    commands = {name: service.get("command") for name, service in services.items()}
    for name in set(DEPLOYABLES) - {"all"}:
        assert commands[name] == ["serve", name]
    assert commands["worker"] == ["work"]
    scraped = yaml.safe_load((COMPOSE / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    names = scraped[0]["dns_sd_configs"][0]["names"]
    assert set(names) == set(DEPLOYABLES) - {"all"} | {"worker"}


def test_the_gateway_knows_every_process(services: Parts) -> None:
    """Every name that its configuration asks for is given, and there are as many processes as it looks for."""
    asked = set(re.findall(r'"\$\{(\w+)\}"', (COMPOSE / "haproxy" / "haproxy.cfg").read_text()))
    assert set(services["gateway"]["environment"]) == asked
    for name in set(DEPLOYABLES) - {"all"}:
        replicas = services[name]["deploy"]["replicas"]
        assert f"{name.upper()}_{replicas}" in asked
        assert f"{name.upper()}_{replicas + 1}" not in asked


def test_who_is_asked_to_stop_has_the_time_for_it(services: Parts) -> None:
    """Docker kills at the end of the grace period; what drains and finishes must be done by then."""
    for name in ("auth", "booking", "consultation", "worker"):
        given = services[name]["environment"]
        needed = float(given["DRAIN_SECONDS"]) + float(given["SHUTDOWN_GRACE_SECONDS"])
        assert _seconds(services[name]["stop_grace_period"]) > needed + 5


def test_writes_outlive_the_loss_of_either_replica(services: Parts) -> None:
    """Any one of two replicas confirms a commit; with one replica, its loss would stop the writes."""
    names = {name for name in services if name.startswith("postgres-replica-")}
    text = (COMPOSE / "postgres" / "postgresql.conf").read_text()
    (quorum,) = re.findall(r"^synchronous_standby_names = 'ANY 1 \((.*)\)'$", text, re.MULTILINE)
    standbys = {name.strip('" ') for name in quorum.split(",")}
    assert standbys == {services[name]["environment"]["NODE_NAME"] for name in {*names, "postgres-primary"}}
    assert len(names) == 2


def test_the_poolers_run_with_the_shipped_configuration(services: Parts) -> None:
    """The same that the twin of the cluster is tested with; only port and database may differ."""
    from tests.twin import poolers

    mounted = {volume["target"]: volume["source"] for volume in services["postgres-roles"]["volumes"]}
    assert Path(mounted["/shipped"]) == poolers.CONFIGURATION
    for name, shipped in (("pgbouncer-rw", "pgbouncer-rw.ini"), ("pgbouncer-ro", "pgbouncer-ro.ini")):
        assert services[name]["command"] == [f"/etc/pgbouncer/{shipped}"]
        # Otherwise it would go on with the verifiers of passwords that were changed in .env.
        assert services[name]["depends_on"]["postgres-roles"]["restart"] is True
        hosts = re.findall(r"^\w+ = host=([\w-]+) ", (poolers.CONFIGURATION / shipped).read_text(), re.MULTILINE)
        assert set(hosts) <= set(services)


def test_the_roles_are_those_of_a_platform_on_one_machine() -> None:
    """Which groups and logins there are is decided once."""
    text = (COMPOSE / "postgres" / "roles.sh").read_text()
    assert dict(re.findall(r"^group (\w+) (\w+)$", text, re.MULTILINE)) == {
        group: login for login, group in roles.LOGINS.items()
    }
    logins = set(re.findall(r"^login (\w+) ", text, re.MULTILINE))
    assert logins == {*roles.LOGINS, roles.OWNER, "telemed_replication", "telemed_monitor"}


def test_the_documents_environment_still_works() -> None:
    """The names of the first `.env` each mean something."""
    text = FILE.read_text()
    for name in ("POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB", "POSTGRES_PORT", "REDIS_HOST", "REDIS_PORT"):
        assert f"${{{name}:" in text, name
    assert "${JWT_SECRET:?" in text


def test_no_secret_gets_into_the_image() -> None:
    """What is not named stays out of the build."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    assert allowed == {"pyproject.toml", "README.md", "requirements/runtime.lock", "services/telemed", "services/image"}


def _seconds(duration: str) -> float:
    minutes, seconds = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", duration).groups()  # type: ignore[union-attr]  # fails loudly
    return int(minutes or 0) * 60 + int(seconds or 0)
