"""What charts/telemed does with its values, beyond what holds for every rendering (tests/charts/invariants)."""

import json
import re
from typing import Any

import pytest
import yaml
from tests.charts.rendering import ROOT as CHECKOUT
from tests.charts.rendering import HelmFailed, Object, render_objects, run_helm
from typer.testing import CliRunner

from telemed.cli import app

CHART = str(CHECKOUT / "charts" / "telemed")
DIGEST = f"sha256:{'0' * 64}"


def rendered(values: dict[str, Any] | None = None, **options: Any) -> dict[tuple[str, str], Object]:
    """Render with these values; objects by kind and name."""
    objects = render_objects("telemed", values or {}, **options)
    return {(one["kind"], one["metadata"]["name"]): one for one in objects}


def pod_of(objects: dict[tuple[str, str], Object], name: str) -> Object:
    pod: Object = objects["Deployment", f"telemed-{name}"]["spec"]["template"]
    return pod


def checksum_of(objects: dict[tuple[str, str], Object], name: str) -> str:
    return str(pod_of(objects, name)["metadata"]["annotations"]["checksum/config"])


def variables_of(pod: Object) -> dict[str, str | None]:
    return {one["name"]: one.get("value") for one in pod["spec"]["containers"][0]["env"]}


def edges_of(objects: dict[tuple[str, str], Object], name: str) -> set[str]:
    """Name whom a part may talk to, by the labels of the peers."""
    text = json.dumps(objects["NetworkPolicy", f"telemed-{name}"]["spec"]["egress"])
    known = {
        "k8s-app": "dns",
        "pooler-rw": "rw",
        "pooler-ro": "ro",
        "cache-sentinel": "cache",
        "cnpg.io/cluster": "database",
    }
    return {edge for label, edge in known.items() if label in text}


def job_of(objects: dict[tuple[str, str], Object]) -> Object:
    (job,) = [one for (kind, _), one in objects.items() if kind == "Job"]
    return job


def refusal(values: dict[str, Any]) -> str:
    """Give the sentence with which the templates refuse."""
    with pytest.raises(HelmFailed) as raised:
        rendered(values)
    (sentence,) = re.findall(r"^(?!Error)\S.*\.$", str(raised.value), re.MULTILINE)
    return str(sentence)


def test_a_component_that_is_added_gets_everything() -> None:
    """Four lines of values are a deployable."""
    objects = rendered({"components": {"night": {"args": ["work"], "http": False}}})
    kinds = {kind for kind, name in objects if name == "telemed-night"}
    assert kinds == {
        "Deployment",
        "Service",
        "ServiceAccount",
        "PodDisruptionBudget",
        "HorizontalPodAutoscaler",
        "NetworkPolicy",
    }


def test_a_component_that_is_off_leaves_nothing() -> None:
    """No policy, no account, no edge to it."""
    objects = rendered({"components": {"worker": {"enabled": False}}})
    assert [name for _, name in objects if "worker" in name] == []


def test_edges_follow_the_addresses() -> None:
    """Who gets no address of a server gets no way there."""
    objects = rendered({"components": {"booking": {"secrets": {"REPLICA_DATABASE_URLS": False, "REDIS_URL": False}}}})
    assert edges_of(objects, "auth") == {"dns", "rw", "ro", "cache"}
    assert edges_of(objects, "booking") == {"dns", "rw"}
    assert edges_of(objects, "test") == {"dns", "rw"}
    assert edges_of(objects, "migrate") == {"dns", "database"}


def test_a_cache_without_a_secret_is_an_edge_too() -> None:
    """REDIS_HOST is no secret where the cache has no password."""
    given = {"settings": {"REDIS_HOST": "cache"}, "defaults": {"secrets": {"REDIS_URL": False}}}
    objects = rendered(given)
    assert "cache" in edges_of(objects, "booking")
    assert variables_of(pod_of(objects, "booking"))["REDIS_HOST"] == "cache"


def test_numbers_arrive_as_they_were_written() -> None:
    """Helm holds them as floats: 2592000 must not become 2.592e+06, nor 0.05 something near it."""
    objects = rendered({"settings": {"REFRESH_TOKEN_SECONDS": 2592000, "REDIS_TIMEOUT_SECONDS": 0.05}})
    told = variables_of(pod_of(objects, "auth"))
    assert (told["REFRESH_TOKEN_SECONDS"], told["REDIS_TIMEOUT_SECONDS"]) == ("2592000", "0.05")


def test_the_grace_is_the_sum_of_what_a_pod_does_at_its_end() -> None:
    """Each component's own settings count; fractions are rounded up."""
    given = {"DRAIN_SECONDS": 4.5, "SHUTDOWN_GRACE_SECONDS": 40}
    objects = rendered({"components": {"auth": {"settings": given, "preStopSeconds": 8}}})
    assert pod_of(objects, "auth")["spec"]["terminationGracePeriodSeconds"] == 58
    assert pod_of(objects, "booking")["spec"]["terminationGracePeriodSeconds"] == 38


def test_a_setting_or_a_changed_secret_restarts_pods() -> None:
    """The checksum tells configurations apart; what changes nothing restarts nobody."""
    before = rendered()
    assert pod_of(rendered(), "auth") == pod_of(before, "auth")
    for change in (
        {"settings": {"LOG_LEVEL": "DEBUG"}},
        {"secretsRevision": "2"},
        {"secretsRevision": 2},
        {"keys": {"verification": {"files": ["public.pem", "next.pem"]}}},
        {"keys": {"signing": {"name": "another"}}},
    ):
        assert checksum_of(rendered(change), "auth") != checksum_of(before, "auth")
    changed = rendered(
        {"components": {"booking": {"settings": {"LOG_LEVEL": "DEBUG"}}}, "monitoring": {"kind": "none"}}
    )
    assert pod_of(changed, "auth") == pod_of(before, "auth")


def test_a_components_own_image_is_not_undone_by_everybodys_digest() -> None:
    """The digest wins over the tag beside it, and what is said of one over what is said of all."""
    auth = {"image": {"tag": "0.2.0"}}
    objects = rendered({"image": {"tag": "0.1.1", "digest": DIGEST}, "components": {"auth": auth}})
    images = {name: pod_of(objects, name)["spec"]["containers"][0]["image"] for name in ("auth", "booking")}
    assert images == {
        "auth": "ghcr.io/telemed/telemed:0.2.0",
        "booking": f"ghcr.io/telemed/telemed@{DIGEST}",
    }


def test_only_who_answers_logins_holds_the_private_key() -> None:
    """And nobody does where a shared secret signs."""
    named = {name: "JWT_PRIVATE_KEY_FILE" in variables_of(pod_of(rendered(), name)) for name in ("auth", "booking")}
    assert named == {"auth": True, "booking": False}
    shared = rendered({"settings": {"JWT_ALGORITHM": "HS256"}})
    for name in ("auth", "booking", "consultation", "worker"):
        assert "JWT_SECRET" in variables_of(pod_of(shared, name))
        assert [volume["name"] for volume in pod_of(shared, name)["spec"]["volumes"]] == ["tmp"]


def test_a_plain_job_is_another_one_when_anything_of_it_changes() -> None:
    """A Job cannot be changed; and one that has run is not run again for nothing."""
    plain = {"migration": {"mode": "job"}}
    first = job_of(rendered(plain))["metadata"]["name"]
    assert first == job_of(rendered({**plain, "route": {"requestSeconds": 40}}))["metadata"]["name"]
    assert first != job_of(rendered({**plain, "image": {"digest": DIGEST}}))["metadata"]["name"]
    assert first != job_of(rendered({"migration": {"mode": "job", "tmp": {"sizeLimit": "1Gi"}}}))["metadata"]["name"]


def test_a_plain_job_waits_for_its_secret_and_a_hook_does_not() -> None:
    """An ExternalSecret comes a little later than the Job; before a release nobody makes any."""
    for mode, may_be_missing in (("job", False), ("hook", True)):
        (variable,) = [
            one
            for one in job_of(rendered({"migration": {"mode": mode}}))["spec"]["template"]["spec"]["containers"][0][
                "env"
            ]
            if one["name"] == "OWNER_DATABASE_URL"
        ]
        assert variable["valueFrom"]["secretKeyRef"].get("optional", False) is may_be_missing


def test_the_migration_tries_again_only_what_may_get_better() -> None:
    """By the exit codes of `telemed migrate`; a drained node counts for nothing."""
    ignore, fail = job_of(rendered())["spec"]["podFailurePolicy"]["rules"]
    assert (ignore["action"], ignore["onPodConditions"][0]["type"]) == ("Ignore", "DisruptionTarget")
    assert (fail["action"], fail["onExitCodes"]["operator"], fail["onExitCodes"]["values"]) == ("FailJob", "In", [1, 2])


def test_names_fit_whatever_the_release_is_called() -> None:
    """A Service's name begins with a letter, has no dots and at most 63 characters; two long ones stay apart."""
    long = [f"1.{'x' * 50}{end}" for end in "ab"]
    names = [{name for _, name in rendered(release=release)} for release in long]
    for name in names[0] | names[1]:
        assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name), name
    assert names[0] & names[1] == set()


def test_the_test_finds_whoever_answers() -> None:
    """Also where one process answers everything; without somebody for each path there is no test, and nothing of it."""
    off: dict[str, Any] = {name: {"enabled": False} for name in ("auth", "booking", "consultation")}
    everything = {"args": ["serve", "all"], "routes": ["/"], "signs": True}
    objects = rendered({"components": {**off, "all": everything}})
    arguments = objects["Pod", "telemed-smoke"]["spec"]["containers"][0]["args"]
    assert set(arguments[2::2]) == {"http://telemed-all:3000"}
    without = rendered({"components": {"booking": {"enabled": False}}})
    assert [name for _, name in without if name in {"telemed-smoke", "telemed-test"}] == []
    assert '"test"' in json.dumps(list(objects.values()))
    assert '"test"' not in json.dumps(list(without.values()))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"components": {"auth": {"autoscaling": {"minReplicas": 9}}}}, "minReplicas (9) is above maxReplicas (6)"),
        ({"components": {"auth": {"terminationGracePeriodSeconds": 37}}}, "(37) is shorter than preStopSeconds"),
        ({"components": {"auth": {"signs": False}}}, "components.auth answers logins, but its `signs` is false"),
        ({"components": {"booking": {"routes": ["/consultation"]}}}, "both hold /consultation"),
        ({"components": {"worker": {"args": []}}}, "components.worker.args is empty"),
        ({"components": {"worker": {"routes": ["/work"]}}}, "components.worker.http is false"),
        ({"components": {"worker": {"secrets": {"PEPPER": False}}}}, "components.worker.secrets.PEPPER is false"),
        ({"components": {"test": {"args": ["work"]}}}, "components.test: the chart has another part of that name"),
        ({"components": {"auth": {"extraEnv": {"PORT": "1"}}}}, "components.auth.extraEnv.PORT is set by the chart"),
        ({"components": {"auth": {"settings": {"JWT_ISSUER": "https://a"}}}}, "refuse each other's tokens"),
        ({"components": {"auth": {"rollout": {"progressDeadlineSeconds": 125}}}}, "(125) is not above minReadySeconds"),
        (
            {"components": {name: {"enabled": False} for name in ("auth", "booking", "consultation", "worker")}},
            "nothing",
        ),
        ({"defaults": {"serviceAccount": {"create": False}}}, "name one that exists"),
        ({"defaults": {"serviceAccount": {"name": "one"}}}, "every component would make the same one"),
        ({"settings": {"TRUSTED_PROXIES": ["0.0.0.0/0"]}}, "anybody could claim any address"),
        ({"settings": {"DATABASE_POOL_SIZE": 60}}, "more than database.maxClientConnections (2000)"),
        ({"database": {"replicaAddresses": 4}}, "2080 connections to the ro pooler"),
        (
            {"commonLabels": {"app.kubernetes.io/instance": "x"}},
            "The label app.kubernetes.io/instance is the chart's own",
        ),
        ({"secrets": {"OWNER_DATABASE_URL": None}}, "secrets.OWNER_DATABASE_URL does not say which Secret"),
        ({"secrets": {"REDIS_URL": None}}, "secrets.REDIS_URL does not say which Secret holds it"),
        ({"route": {"enabled": True}}, "route.parentRefs names no Gateway"),
        ({"route": {"enabled": True, "parentRefs": [{"name": "a"}]}}, "route.hostnames is empty"),
        ({"route": {"requestSeconds": 20}}, "route.backendRequestSeconds (30) is above route.requestSeconds (20)"),
        ({"ingress": {"enabled": True}}, "ingress.hosts is empty"),
        ({"certificate": {"enabled": True}}, "certificate.issuerRef.name is empty"),
        ({"externalSecrets": {"enabled": True}}, "externalSecrets.storeRef.name is empty"),
    ],
)
def test_nonsense_is_refused_in_one_sentence(values: dict[str, Any], words: str) -> None:
    """It names the values and what to do, before anything reaches a cluster."""
    assert words in refusal(values)


def test_a_gateway_does_not_give_up_before_the_application() -> None:
    """Its answer would say nothing of what happened; ours does."""
    route = {"enabled": True, "parentRefs": [{"name": "a"}], "hostnames": ["a.example"], "backendRequestSeconds": 15}
    assert "the gateway would give up before the answer" in refusal({"route": route})
    assert rendered({"route": {**route, "backendRequestSeconds": 16}})


def test_a_secret_of_the_release_comes_too_late_for_a_hook() -> None:
    """As a plain Job the migration waits for it."""
    external = {
        "enabled": True,
        "storeRef": {"name": "vault"},
        "secrets": {"telemed-database": {"OWNER_DATABASE_URL": {"key": "a"}}},
    }
    assert "set migration.mode to job" in refusal({"externalSecrets": external})
    assert rendered({"externalSecrets": external, "migration": {"mode": "job"}})


@pytest.mark.parametrize("example", ["", "production.yaml", "keda.yaml"])
def test_there_are_as_many_pods_as_the_plan_asks_for(example: str) -> None:
    """100,000 consultations a day, by what requests were measured to cost: never fewer pods, and never smaller ones."""
    planned = CliRunner().invoke(app, ["capacity", "--consultations-per-day=100000", "--format=values"])
    plan = yaml.safe_load(planned.stdout)
    objects = {(one["kind"], one["metadata"]["name"]): one for one in render_example(example)}
    for name, wanted in plan["components"].items():
        pod = pod_of(objects, name)
        asked = pod["spec"]["containers"][0]["resources"]["requests"]
        assert asked["memory"] == plan["defaults"]["resources"]["requests"]["memory"]
        assert asked["cpu"] in {plan["defaults"]["resources"]["requests"]["cpu"], "1"}
        assert variables_of(pod)["DATABASE_POOL_SIZE"] == str(plan["settings"]["DATABASE_POOL_SIZE"])
        if wanted["autoscaling"]["mode"] == "hpa":
            fewest, most = scale_of(objects, name)
            assert fewest >= wanted["autoscaling"]["minReplicas"]
            assert most >= wanted["autoscaling"]["maxReplicas"]


def render_example(example: str) -> list[Object]:
    file = CHECKOUT / "charts" / "telemed" / "examples" / example
    return render_objects("telemed", *([file] if example else []))


def scale_of(objects: dict[tuple[str, str], Object], name: str) -> tuple[int, int]:
    if ("ScaledObject", f"telemed-{name}") in objects:
        spec = objects["ScaledObject", f"telemed-{name}"]["spec"]
        return spec["minReplicaCount"], spec["maxReplicaCount"]
    spec = objects["HorizontalPodAutoscaler", f"telemed-{name}"]["spec"]
    return spec["minReplicas"], spec["maxReplicas"]


def test_the_notes_give_three_commands() -> None:
    """That can be pasted, with the names of this release."""
    answer = run_helm("install", "clinic", CHART, "--namespace=health", "--dry-run=client")
    notes = answer.partition("NOTES:")[2]
    commands = re.findall(r"^    (\S.*)$", notes, re.MULTILINE)
    assert commands == [
        "kubectl -n health rollout status deployment -l app.kubernetes.io/instance=clinic",
        "helm test clinic -n health --logs",
        "printf '%s' \"$PASSWORD\" | kubectl -n health exec -i deployment/clinic-telemed-auth -- "
        "telemed admin create --email you@example.com --password-stdin",
    ]
