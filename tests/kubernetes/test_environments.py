"""The environments of k8s/ fit together: names, certificates, and secrets from outside."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.kubernetes.admission import built, of_kind
from tests.kubernetes.scripts import decoded
from tests.kubernetes.test_secrets import printed

pytestmark = pytest.mark.usefixtures("programs")

ROOT = Path(__file__).parents[2]
OUTSIDE = ("staging", "production")


@pytest.mark.parametrize("overlay", OUTSIDE)
def test_one_name_is_said_everywhere(overlay: str) -> None:
    """Gateway, redirect, certificate and the policy of routes are about the same host."""
    objects = built(f"overlays/{overlay}")
    domain = of_kind(objects, "Namespace")["telemed"]["metadata"]["labels"]["policy.telemed.local/domain"]
    listeners = {each["name"]: each for each in of_kind(objects, "Gateway")["telemed"]["spec"]["listeners"]}
    host = listeners["https"]["hostname"]
    assert host.endswith(f".{domain}")
    assert of_kind(objects, "HTTPRoute")["redirect-to-https"]["spec"]["hostnames"] == [host]
    [certificate] = of_kind(objects, "Certificate").values()
    assert certificate["spec"]["dnsNames"] == [host]
    [reference] = listeners["https"]["tls"]["certificateRefs"]
    assert reference["name"] == certificate["spec"]["secretName"]


def test_nothing_is_served_in_the_clear() -> None:
    """The listener without TLS takes routes of its own namespace only, and the only one there leads to HTTPS."""
    objects = built("gateway")
    [plain] = [
        each for each in of_kind(objects, "Gateway")["telemed"]["spec"]["listeners"] if each["protocol"] == "HTTP"
    ]
    assert plain["allowedRoutes"]["namespaces"]["from"] == "Same"
    [route] = of_kind(objects, "HTTPRoute").values()
    assert route["spec"]["parentRefs"] == [{"name": "telemed", "sectionName": plain["name"]}]
    [rule] = route["spec"]["rules"]
    assert rule["filters"][0]["requestRedirect"]["scheme"] == "https"
    assert "backendRefs" not in rule


def test_secrets_from_outside_are_those_of_the_script() -> None:
    """The charts cannot tell who made them."""
    made = {(each["metadata"]["namespace"], each["metadata"]["name"]): each for each in printed()}
    values = decoded(list(made.values()))
    passwords = {
        name.removeprefix("telemed-"): data["password"] for (_, name), data in values.items() if "username" in data
    }
    external = of_kind(built("external-secrets"), "ExternalSecret")
    # The cache is managed elsewhere, where the store is: its address is all that is needed.
    del values["telemed-data", "telemed-cache"]
    assert {(e["metadata"]["namespace"], name) for name, e in external.items()} == set(values)
    for (namespace, name), wanted in values.items():
        target = external[name]["spec"]["target"]
        assert target["name"] == name
        assert target["deletionPolicy"] == "Retain"
        template = target.get("template", {})
        assert template.get("type", "Opaque") == made[namespace, name]["type"]
        fetched = {each["secretKey"]: each["remoteRef"] for each in external[name]["spec"]["data"]}
        if "data" not in template:
            assert set(fetched) == set(wanted)
            continue
        assert {key: filled(text, fetched, passwords) for key, text in template["data"].items()} == wanted


def filled(text: str, fetched: dict[str, Any], passwords: dict[str, str]) -> str:
    """As the operator fills in a template, with the passwords of the script in its store."""

    def value(match: re.Match[str]) -> str:
        reference = fetched[match.group(1)]
        assert reference["key"] == "database"
        return passwords[reference["property"]]

    # The application takes spaces between addresses.
    return re.sub(r"\{\{ \.(\w+)(?: \| urlquery)? \}\}", value, text).replace(", ", ",")


def test_the_store_is_for_our_namespaces_only() -> None:
    """A cluster-wide store answers whoever asks, otherwise."""
    for overlay in OUTSIDE:
        [store] = of_kind(built(f"overlays/{overlay}"), "ClusterSecretStore").values()
        assert store["spec"]["conditions"] == [{"namespaces": ["telemed", "telemed-data"]}]
        for secret in of_kind(built(f"overlays/{overlay}"), "ExternalSecret").values():
            assert secret["spec"]["secretStoreRef"] == {"kind": "ClusterSecretStore", "name": store["metadata"]["name"]}


def test_productions_route_finds_its_gateway() -> None:
    """The chart's example and the overlay name each other."""
    objects = built("overlays/production")
    gateway = of_kind(objects, "Gateway")["telemed"]
    route = yaml.safe_load((ROOT / "charts" / "telemed" / "examples" / "production.yaml").read_text())["route"]
    [parent] = route["parentRefs"]
    assert (parent["namespace"], parent["name"]) == (gateway["metadata"]["namespace"], gateway["metadata"]["name"])
    [listener] = [each for each in gateway["spec"]["listeners"] if each["name"] == parent["sectionName"]]
    assert route["hostnames"] == [listener["hostname"]]
    assert listener["allowedRoutes"]["namespaces"]["selector"]["matchLabels"] == {
        "kubernetes.io/metadata.name": "telemed"
    }
