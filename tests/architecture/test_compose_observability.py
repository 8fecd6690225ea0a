"""The profile "observability" of docker-compose.yml: who looks at whom, with the files that the cluster has, too."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from tests.architecture.test_compose import COMPOSE, ROOT, Parts, project, services
from tests.observability.collector.configuration import CONFIG, documented
from tests.support.programs import require_program

from telemed.kernel.settings import Settings

__all__ = ["project", "services"]  # fixtures

PROMETHEUS = COMPOSE / "prometheus" / "prometheus.yml"
PROVISIONING = COMPOSE / "grafana" / "provisioning"
RULES = ROOT / "charts" / "telemed-observability" / "rules"
BOARDS = ROOT / "charts" / "telemed-observability" / "dashboards"


@pytest.fixture(scope="module")
def scraping() -> Parts:
    parts: Parts = yaml.safe_load(PROMETHEUS.read_text())
    return parts


def mounted(service: Parts) -> dict[str, str]:
    """Give what is mounted: path inside → path or volume outside."""
    return {volume["target"]: volume["source"] for volume in service["volumes"]}


def targets(scraping: Parts) -> Iterator[tuple[str, str]]:
    """Give host and port of everybody who is scraped, and of what blackbox is asked to try."""
    for job in scraping["scrape_configs"]:
        for names in job.get("dns_sd_configs", []):
            yield from ((name, str(names["port"])) for name in names["names"])
        for group in job.get("static_configs", []):
            for target in group["targets"]:
                host, _, port = (urlsplit(target).netloc if "://" in target else target).partition(":")
                yield host, port
        for rule in job.get("relabel_configs", []):
            if rule["target_label"] == "__address__":
                host, _, port = rule["replacement"].partition(":")
                yield host, port


def test_whoever_is_scraped_is_there(scraping: Parts, services: Parts) -> None:
    """A name that is misspelt is a target that is down for ever."""
    for host, _ in targets(scraping):
        assert host in {*services, "localhost"}, host
        assert host == "localhost" or "edge" in services[host]["networks"], host
    for name, ports in (("telemed", {"9000"}), ("probe", {"9000"})):
        (job,) = [job for job in scraping["scrape_configs"] if job["job_name"] == name]
        assert {port for _, port in targets({"scrape_configs": [job]})} == ports
        assert job["honor_labels"] is True


def test_prometheus_takes_its_configuration_with_the_rules_of_the_cluster(services: Parts, tmp_path: Path) -> None:
    """Prometheus' own tool says so, of the file and of every rule that it loads."""
    assert mounted(services["prometheus"])["/etc/telemed-rules"] == str(RULES)
    assert "--enable-feature=exemplar-storage" in services["prometheus"]["command"]
    configuration = tmp_path / "prometheus.yml"
    configuration.write_text(PROMETHEUS.read_text().replace("/etc/telemed-rules", str(RULES)))
    answer = subprocess.run(
        [require_program("promtool"), "check", "config", str(configuration)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr + answer.stdout
    assert answer.stdout.count("rules found") == len(list(RULES.glob("*.yaml")))


def test_series_have_the_labels_that_rules_and_boards_ask_for(scraping: Parts) -> None:
    """`namespace` everywhere, `pod` for each process, `probe` for each address, and the component as job."""
    jobs = {job["job_name"]: job for job in scraping["scrape_configs"]}
    labels = {rule["target_label"] for rule in jobs["telemed"]["relabel_configs"]}
    assert labels == {"job", "namespace", "pod"}
    for name in ("probe", "addresses", "spans"):
        assert all(group["labels"]["namespace"] == "compose" for group in jobs[name]["static_configs"]), name
    assert {group["labels"]["probe"] for group in jobs["addresses"]["static_configs"]} == {"search", "directory"}


def test_addresses_are_tried_with_a_module_that_is_there(scraping: Parts, services: Parts) -> None:
    """And with the authority of the gateway's certificate, which names the gateway."""
    modules = yaml.safe_load((ROOT / "observability" / "blackbox" / "blackbox.yml").read_text())["modules"]
    (job,) = [job for job in scraping["scrape_configs"] if job["job_name"] == "addresses"]
    (module,) = job["params"]["module"]
    ca_file = Path(modules[module]["http"]["tls_config"]["ca_file"])
    for name in ("blackbox", "probe"):
        assert mounted(services[name])[str(ca_file.parent)] == "gateway-tls"
    assert services["probe"]["environment"]["SSL_CERT_FILE"] == str(ca_file)
    assert "gateway" in services["certificate"]["environment"]["GATEWAY_NAMES"].split(",")


def test_alerts_go_to_the_alertmanager_with_the_committed_routes(scraping: Parts, services: Parts) -> None:
    """By the file that the tests of routes and inhibitions read."""
    ((group,),) = [one["static_configs"] for one in scraping["alerting"]["alertmanagers"]]
    assert group["targets"] == ["alertmanager:9093"]
    outside = mounted(services["alertmanager"])["/etc/telemed/alertmanager.yml"]
    assert outside == str(ROOT / "observability" / "alertmanager" / "alertmanager.yml")


def test_the_collector_has_the_gateways_configuration(services: Parts) -> None:
    """Without what only a cluster has, and with every variable that it asks for."""
    collector = services["collector"]
    outside = Path(mounted(collector)["/etc/telemed"])
    files = [option.partition("=")[2] for option in collector["command"]]
    assert [Path(file).name for file in files] == ["config.yaml", "without-kubernetes.yaml"]
    assert all((outside / Path(file).name).is_file() for file in files)
    assert set(collector["environment"]) == documented(CONFIG)
    host, _, port = collector["environment"]["TRACES_ENDPOINT"].partition(":")
    assert (host in services, port) == (True, "4317")
    # What is checked is what runs.
    assert collector["healthcheck"]["test"][3:] == collector["command"]


def test_processes_that_last_can_be_told_to_send_spans(services: Parts) -> None:
    """Nobody does unless .env says so; jobs have no way to the collector."""
    for name in ("auth", "booking", "consultation", "worker"):
        environment = services[name]["environment"]
        assert not environment["OTEL_EXPORTER_OTLP_ENDPOINT"]
        assert set(services[name]["networks"]) & set(services["collector"]["networks"])
        assert Settings(jwt_secret="x" * 32, trace_sample_ratio=environment["TRACE_SAMPLE_RATIO"]).trace_sample_ratio
    for name in ("migrate", "seed", "probe"):
        assert "OTEL_EXPORTER_OTLP_ENDPOINT" not in services[name]["environment"]


def test_grafana_has_the_boards_and_a_way_from_a_point_to_a_trace(services: Parts) -> None:
    """The committed boards, from a folder that is mounted; an exemplar leads to a data source that there is."""
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards" / "telemed.yml").read_text())["providers"]
    assert mounted(services["grafana"])[provider["options"]["path"]] == str(BOARDS)
    assert all(json.loads(file.read_text())["uid"] for file in BOARDS.glob("*.json"))
    sources: list[dict[str, Any]] = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text())[
        "datasources"
    ]
    by_uid = {source["uid"]: source for source in sources}
    (link,) = by_uid["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert link["name"] == "trace_id"
    assert link["datasourceUid"] in by_uid
    assert all(urlsplit(source["url"]).hostname in services for source in sources)


def test_nobody_but_the_profile_starts_them(services: Parts) -> None:
    """`docker compose up` alone starts the platform, and what watches it costs nothing."""
    of_profile = {name for name, service in services.items() if service.get("profiles") == ["observability"]}
    assert of_profile == {"prometheus", "alertmanager", "grafana", "collector", "jaeger", "blackbox", "probe"}
    for name, service in services.items():
        assert name in of_profile or not of_profile & set(service.get("depends_on", {})), name
