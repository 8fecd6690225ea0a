"""What k8s/secrets.sh makes fits together, and fits what the application reads."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from tests.kubernetes.scripts import ROOT, Secrets, call, decoded

from telemed.kernel.cache.addresses import parse_address
from telemed.kernel.settings import Settings
from telemed.local import roles

SCRIPT = ROOT / "k8s" / "secrets.sh"
LOGINS = {
    "telemed-owner": "telemed_owner",
    "telemed-api": "telemed_api",
    "telemed-audit-api": "telemed_audit_api",
    "telemed-jobs": "telemed_jobs",
    "telemed-monitor": "telemed_monitor",
}
APPLICATION = {
    "telemed-database",
    "telemed-cache",
    "telemed-identity",
    "telemed-signing-key",
    "telemed-verification-keys",
}
# Each address of the application, and whose password is in it.
ADDRESSES = {
    "DATABASE_URL": "telemed-api",
    "REPLICA_DATABASE_URLS": "telemed-api",
    "AUDITOR_DATABASE_URL": "telemed-audit-api",
    "WORKER_DATABASE_URL": "telemed-jobs",
    "OWNER_DATABASE_URL": "telemed-owner",
}


def printed(*arguments: str) -> list[dict[str, Any]]:
    answer = call(SCRIPT, "--output", *arguments)
    assert answer.returncode == 0, answer.stderr
    return list(yaml.safe_load_all(answer.stdout))


@pytest.fixture(scope="module")
def secrets() -> Secrets:
    return decoded(printed())


def apply(cluster: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return call(SCRIPT, *arguments, cluster=cluster)


def stored(cluster: Path) -> Secrets:
    return decoded([yaml.safe_load(path.read_text()) for path in sorted(cluster.rglob("telemed*/*"))])


def test_all_secrets_are_made_and_no_other(secrets: Secrets) -> None:
    """The charts refer to these names; each is in the namespace of who reads it."""
    wanted = {("telemed-data", name) for name in {*LOGINS, "telemed-cache"}} | {
        ("telemed", name) for name in APPLICATION
    }
    assert set(secrets) == wanted


def test_logins_are_of_the_type_that_the_operator_reads(secrets: Secrets) -> None:
    """CloudNativePG takes user and password from Secrets for basic authentication, and only notices labelled ones."""
    for manifest in printed():
        if manifest["metadata"]["name"] in LOGINS:
            assert manifest["type"] == "kubernetes.io/basic-auth"
            assert manifest["metadata"]["labels"]["cnpg.io/reload"] == "true"
    for name, role in LOGINS.items():
        login = secrets["telemed-data", name]
        assert set(login) == {"username", "password"}
        assert login["username"] == role
        assert len(login["password"]) >= 32
    assert set(roles.LOGINS) | {roles.OWNER} <= set(LOGINS.values())


def test_no_two_logins_share_a_password(secrets: Secrets) -> None:
    """Who learns one knows no other."""
    passwords = [secrets["telemed-data", name]["password"] for name in LOGINS]
    assert len(set(passwords)) == len(passwords)


def test_addresses_carry_the_passwords_of_their_logins(secrets: Secrets) -> None:
    """The application logs in as the database's roles were made."""
    assert set(secrets["telemed", "telemed-database"]) == set(ADDRESSES)
    for variable, login in ADDRESSES.items():
        mentions = secrets["telemed", "telemed-database"][variable].split(",")
        assert len(set(mentions)) == 1
        address = urlsplit(mentions[0])
        assert (address.username, address.password) == tuple(
            secrets["telemed-data", login][key] for key in ("username", "password")
        )
        assert address.path == f"/{roles.DATABASE}"
        assert address.query == "sslmode=require"


def test_only_the_migration_goes_past_the_poolers(secrets: Secrets) -> None:
    """Migrations need a session of their own; everybody else shares connections."""
    hosts = {
        variable: urlsplit(addresses.split(",")[0]).hostname
        for variable, addresses in secrets["telemed", "telemed-database"].items()
    }
    assert hosts.pop("OWNER_DATABASE_URL") == "telemed-data-rw.telemed-data.svc"
    assert hosts.pop("REPLICA_DATABASE_URLS") == "telemed-data-pooler-ro.telemed-data.svc"
    assert set(hosts.values()) == {"telemed-data-pooler-rw.telemed-data.svc"}


@pytest.mark.parametrize("algorithm", ["HS256", "EdDSA"])
def test_the_application_accepts_them(
    secrets: Secrets, algorithm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings are read from exactly what a pod would get."""
    for name in ("telemed-database", "telemed-cache", "telemed-identity"):
        for variable, value in secrets["telemed", name].items():
            monkeypatch.setenv(variable, value)
    monkeypatch.setenv("JWT_ALGORITHM", algorithm)
    monkeypatch.setenv("JWT_PUBLIC_KEY_FILES", str(tmp_path / "public.pem"))
    settings = Settings(_env_file=None)
    assert settings.owner_database == secrets["telemed", "telemed-database"]["OWNER_DATABASE_URL"]
    assert len(settings.replica_databases) == 2
    assert settings.redis_address.endswith("@telemed-data-cache.telemed-data.svc:6379/0")


def test_the_keys_are_a_pair(secrets: Secrets) -> None:
    """What auth signs, the others can verify."""
    private = load_pem_private_key(secrets["telemed", "telemed-signing-key"]["private.pem"].encode(), None)
    public = load_pem_public_key(secrets["telemed", "telemed-verification-keys"]["public.pem"].encode())
    assert private.public_key() == public


@pytest.mark.parametrize("cache", ["standalone", "sentinel", "cluster"])
def test_the_address_of_the_cache_says_how_it_is_run(cache: str) -> None:
    """The client follows failovers by the scheme."""
    made = decoded(printed("--cache", cache))
    address = parse_address(made["telemed", "telemed-cache"]["REDIS_URL"])
    assert address.mode.value == cache
    assert address.credentials.password == made["telemed-data", "telemed-cache"]["password"]
    assert len(address.seeds) == (3 if cache == "sentinel" else 1)


def test_a_cache_elsewhere_is_named_as_it_is(cluster: Path) -> None:
    """Whoever manages it knows its address; and it stays, whatever else is made anew."""
    url = "rediss://:secret@cache.example.com:6380/0"
    assert apply(cluster, "--redis-url", url).returncode == 0
    assert stored(cluster)["telemed", "telemed-cache"] == {"REDIS_URL": url}


def test_each_replica_is_named_once() -> None:
    """The second mention is the second try, when the first replica lags; an empty variable counts as none."""
    for option, mentions in ((["--replicas", "1"], 1), (["--replicas", "3"], 3), ([], 2)):
        addresses = decoded(printed(*option))["telemed", "telemed-database"]["REPLICA_DATABASE_URLS"]
        assert len(addresses.split(",")) == mentions
    assert decoded(printed("--no-replicas"))["telemed", "telemed-database"]["REPLICA_DATABASE_URLS"] == ""


def test_the_chart_counts_as_many_addresses_as_are_made() -> None:
    """Each mention is a pool of connections; the chart adds them up without seeing the Secret."""
    counted = yaml.safe_load((ROOT / "charts/telemed/values.yaml").read_text())["database"]["replicaAddresses"]
    from_script = decoded(printed())["telemed", "telemed-database"]["REPLICA_DATABASE_URLS"]
    outside = yaml.safe_load_all((ROOT / "k8s/external-secrets/application.yaml").read_text())
    (from_store,) = (
        data["REPLICA_DATABASE_URLS"]
        for secret in outside
        if "REPLICA_DATABASE_URLS" in (data := secret["spec"]["target"].get("template", {}).get("data", {}))
    )
    assert len(from_script.split(",")) == len(from_store.split(",")) == counted


def test_a_second_run_changes_nothing(cluster: Path) -> None:
    """A new password that the database does not know would lock everybody out."""
    first = apply(cluster)
    assert first.returncode == 0, first.stderr
    before = stored(cluster)
    second = apply(cluster)
    assert second.returncode == 0, second.stderr
    assert stored(cluster) == before
    assert "made" not in second.stderr


def test_what_is_missing_is_made_of_what_exists(cluster: Path) -> None:
    """Addresses and public key follow from the passwords and the private key that are in use."""
    apply(cluster)
    before = stored(cluster)
    for name in ("telemed-database", "telemed-cache", "telemed-verification-keys"):
        (cluster / "telemed" / name).unlink()
    answer = apply(cluster)
    assert answer.returncode == 0, answer.stderr
    assert stored(cluster) == before


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ("telemed-data/telemed-api", "telemed-database in telemed exists and would hold another password"),
        (
            "telemed/telemed-signing-key",
            "telemed-verification-keys exists in telemed, but telemed-signing-key does",
        ),
    ],
)
def test_contradictions_are_refused_before_anything_is_made(cluster: Path, missing: str, sentence: str) -> None:
    """Half of a pair cannot be made anew."""
    apply(cluster)
    (cluster / missing).unlink()
    (cluster / "telemed" / "telemed-identity").unlink()
    answer = apply(cluster)
    assert answer.returncode == 1
    assert sentence in answer.stderr
    assert not (cluster / "telemed" / "telemed-identity").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--outptu"], "There is no option --outptu"),
        (["--cache"], "--cache needs a value"),
        (["--replicas", "many"], "--replicas must be a number from 0 to 9, not many"),
        (["--cache", "ring"], "--cache must be standalone, sentinel or cluster, not ring"),
    ],
)
def test_wrong_arguments_are_said(arguments: list[str], sentence: str) -> None:
    """In a sentence, before anything is made."""
    answer = call(SCRIPT, *arguments)
    assert answer.returncode == 1
    assert sentence in answer.stderr
    assert answer.stdout == ""


def test_a_missing_namespace_is_said_with_the_command_that_makes_it(cluster: Path) -> None:
    """The first thing that goes wrong on a new cluster."""
    (cluster / "telemed-data").rmdir()
    answer = apply(cluster)
    assert answer.returncode == 1
    assert "kubectl apply -k k8s/overlays/local" in answer.stderr


def test_nothing_secret_is_an_argument(cluster: Path) -> None:
    """Arguments can be read by everybody on the machine."""
    log = cluster.parent / "arguments"
    program = cluster.parent / "bin" / "kubectl"
    program.write_text(program.read_text().replace("exec", f'echo "$@" >> "{log}"\nexec', 1))
    apply(cluster)
    said = log.read_text()
    values = {value for data in stored(cluster).values() for key, value in data.items() if key != "username"}
    assert said
    assert not [value for value in values if value and value in said]


def test_the_script_is_clean() -> None:
    """POSIX, and nothing that a linter of shell scripts finds."""
    program = Path(sys.executable).with_name("shellcheck")
    answer = subprocess.run(
        [str(program), "--shell=sh", str(SCRIPT)], capture_output=True, text=True, check=False, timeout=60
    )
    assert answer.returncode == 0, answer.stdout
    assert os.access(SCRIPT, os.X_OK)
