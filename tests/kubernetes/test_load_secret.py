"""What the load is told of the platform in a cluster: all that it needs to be its people, and never a production's."""

import base64
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.charts.rendering import render_objects
from tests.kubernetes.scripts import ROOT, call, decoded

from telemed_load.problems import LoadProblem
from telemed_load.settings_file import settings_from

SCRIPT = ROOT / "load-tests" / "kubernetes" / "secret.sh"
KEYS = {"platform.env", "private.pem", "public.pem"}


def installed(cluster: Path, *values: dict[str, object] | Path) -> None:
    """Put into the cluster what `k8s/secrets.sh` and the chart would have."""
    assert call(ROOT / "k8s" / "secrets.sh", cluster=cluster).returncode == 0
    (auth,) = (
        one
        for one in render_objects("telemed", *values)
        if (one["kind"], one["metadata"]["name"]) == ("Deployment", "telemed-auth")
    )
    (cluster / "telemed" / "deployment-telemed-auth").write_text(yaml.safe_dump(auth))


def apply(cluster: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return call(SCRIPT, *arguments, cluster=cluster)


def made(cluster: Path) -> dict[str, str]:
    manifest = yaml.safe_load((cluster / "telemed-load" / "telemed-load-platform").read_text())
    return decoded([manifest])["telemed-load", "telemed-load-platform"]


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize("algorithm", ["EdDSA", "HS256"])
def test_it_is_what_the_load_reads(cluster: Path, algorithm: str, tmp_path: Path) -> None:
    """The load reads the platform's own settings from it: how it signs, for how long, and where the database is."""
    installed(cluster, {"settings": {"JWT_ALGORITHM": algorithm, "ENVIRONMENT": "local", "JWT_ISSUER": "a b#'\"c"}})

    answer = apply(cluster)

    assert answer.returncode == 0, answer.stderr
    secret = made(cluster)
    assert secret.keys() == KEYS
    (tmp_path / "platform.env").write_text(secret["platform.env"])
    settings = settings_from(tmp_path / "platform.env")
    database = decoded([yaml.safe_load((cluster / "telemed" / "telemed-database").read_text())])
    assert settings.owner_database == database["telemed", "telemed-database"]["OWNER_DATABASE_URL"]
    assert (settings.jwt_algorithm, settings.jwt_issuer) == (algorithm, "a b#'\"c")
    assert settings.jwt_private_key_file == Path("/secret/private.pem")
    assert settings.jwt_public_key_files == [Path("/secret/public.pem")]


@pytest.mark.usefixtures("programs")
def test_the_keys_are_the_platforms(cluster: Path) -> None:
    """Tokens that the load mints are accepted by everybody who accepts auth's."""
    installed(cluster, ROOT / "k8s" / "kind" / "telemed.yaml")

    apply(cluster)

    stored = [yaml.safe_load(path.read_text()) for path in (cluster / "telemed").glob("telemed-*-key*")]
    keys = {key.strip() for data in decoded(stored).values() for key in data.values()}
    assert {made(cluster)[name].strip() for name in ("private.pem", "public.pem")} == keys


@pytest.mark.usefixtures("programs")
def test_a_production_is_refused(cluster: Path, tmp_path: Path) -> None:
    """Before anything is read of its Secrets; and the load itself would refuse it, too."""
    installed(
        cluster, ROOT / "charts" / "telemed" / "examples" / "minimal.yaml", {"settings": {"ENVIRONMENT": "production"}}
    )

    answer = apply(cluster)

    assert (answer.returncode, "production" in answer.stderr) == (1, True)
    assert not (cluster / "telemed-load").exists()
    (tmp_path / "platform.env").write_text('ENVIRONMENT="production"\nJWT_SECRET=' + "x" * 32)
    with pytest.raises(LoadProblem, match="production"):
        settings_from(tmp_path / "platform.env")


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize(
    ("missing", "sentence"),
    [("deployment-telemed-auth", "is Telemed installed?"), ("telemed-identity", "k8s/secrets.sh makes it")],
)
def test_what_is_missing_is_said_and_nothing_is_made(cluster: Path, missing: str, sentence: str) -> None:
    """Half of a Secret would be a load that fails later, with another sentence."""
    installed(cluster, ROOT / "k8s" / "kind" / "telemed.yaml")
    (cluster / "telemed" / missing).unlink()

    answer = apply(cluster)

    assert (answer.returncode, sentence in answer.stderr) == (1, True), answer.stderr
    assert not (cluster / "telemed-load").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"), [(["--contxt"], "There is no option"), (["--context"], "needs a value")]
)
def test_wrong_arguments_are_said(cluster: Path, arguments: list[str], sentence: str) -> None:
    """Before the cluster is asked."""
    answer = apply(cluster, *arguments)

    assert (answer.returncode, sentence in answer.stderr) == (1, True)


@pytest.mark.usefixtures("programs")
def test_nothing_secret_is_an_argument(cluster: Path) -> None:
    """Arguments can be read by everybody on the machine."""
    installed(cluster, ROOT / "k8s" / "kind" / "telemed.yaml")
    log, program = cluster.parent / "arguments", cluster.parent / "bin" / "kubectl"
    program.write_text(program.read_text().replace("exec", f'echo "$@" >> "{log}"\nexec', 1))

    apply(cluster)

    said = log.read_text()
    values = list(made(cluster).values())
    encoded = [base64.b64encode(value.encode()).decode() for value in values]
    assert said
    assert not [value for value in (*values, *encoded) if value in said]
