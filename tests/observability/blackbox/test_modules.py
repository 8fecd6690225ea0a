"""The blackbox exporter's modules, run by a real one against addresses that are well, and ill in every way."""

import asyncio
import contextlib
import datetime as dt
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from tests.observability.blackbox.addresses import Authority, answering
from tests.support.programs import require_program
from tests.support.waiting import until

from telemed.kernel.http.request_metrics import _SYNTHETIC
from telemed.local.processes import free_port

ROOT = Path(__file__).parents[3]
CONFIGURATION = ROOT / "observability" / "blackbox" / "blackbox.yml"
CHART = ROOT / "charts" / "telemed-observability"
OWN_CA = "/etc/telemed/tls/ca.pem"
MODULES = yaml.safe_load(CONFIGURATION.read_text())["modules"]


@dataclass(frozen=True)
class Exporter:
    """A running exporter."""

    api: httpx.AsyncClient

    async def probe(self, target: str, module: str) -> dict[str, float]:
        """Try an address; give what Prometheus would get, by its name."""
        answer = await self.api.get("/probe", params={"target": target, "module": module})
        assert answer.status_code == 200, answer.text
        return {
            sample.name: sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
            if not sample.labels
        }


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@contextlib.asynccontextmanager
async def exporting(folder: Path, authority: Authority, *, trusts: bool = True) -> AsyncIterator[Exporter]:
    """Run one with our configuration; the system's authorities are that of the test, or another one."""
    configuration = folder / "blackbox.yml"
    configuration.write_text(CONFIGURATION.read_text().replace(OWN_CA, str(authority.ca)))
    port = free_port()
    (folder / "elsewhere").mkdir(exist_ok=True)
    known = authority if trusts else Authority(folder / "elsewhere")
    process = await asyncio.create_subprocess_exec(
        require_program("prometheus-blackbox-exporter"),
        f"--config.file={configuration}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
        env={"PATH": os.environ["PATH"], "SSL_CERT_FILE": str(known.ca), "SSL_CERT_DIR": str(folder / "nothing")},
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as api:
            await until(lambda: _is_healthy(api))
            yield Exporter(api)
    finally:
        process.terminate()
        await process.wait()


async def _is_healthy(api: httpx.AsyncClient) -> bool:
    try:
        return (await api.get("/-/healthy")).status_code == httpx.codes.OK
    except httpx.TransportError:  # not yet
        return False


async def test_an_address_that_is_well_is_said_to_be(tmp_path: Path, authority: Authority) -> None:
    """With the end of its certificate, to the second; and the platform does not take the try for a user."""
    ends_at = (dt.datetime.now(dt.UTC) + dt.timedelta(days=40)).replace(microsecond=0)
    with answering(authority.certificate(ends_at)) as (address, asked):
        async with exporting(tmp_path, authority) as exporter:
            seen = await exporter.probe(f"{address}/well", "http_2xx")
    assert (seen["probe_success"], seen["probe_http_status_code"], seen["probe_http_ssl"]) == (1, 200, 1)
    assert seen["probe_ssl_earliest_cert_expiry"] == ends_at.timestamp()
    assert 0 < seen["probe_duration_seconds"] < 9
    (user_agent,) = asked.user_agents
    assert user_agent.encode().startswith(_SYNTHETIC)


@pytest.mark.parametrize(("path", "success"), [("/empty", 1), ("/moved", 0), ("/missing", 0), ("/down", 0)])
async def test_any_other_answer_than_2xx_fails(tmp_path: Path, authority: Authority, path: str, success: float) -> None:
    """Also one that sends elsewhere: then it is not this address that works."""
    with answering(authority.certificate(dt.datetime.now(dt.UTC) + dt.timedelta(days=40))) as (address, _):
        async with exporting(tmp_path, authority) as exporter:
            assert (await exporter.probe(address + path, "http_2xx"))["probe_success"] == success


async def test_tls_that_does_not_hold_fails(tmp_path: Path, authority: Authority) -> None:
    """A certificate that has ended, one for another name, one from nobody we know, and none at all."""
    now = dt.datetime.now(dt.UTC)
    ended = authority.certificate(now - dt.timedelta(days=1))
    of_another = authority.certificate(now + dt.timedelta(days=40), name="elsewhere.example.com")
    good = authority.certificate(now + dt.timedelta(days=40))
    async with exporting(tmp_path, authority) as exporter:
        for certificate in (ended, of_another, None):
            with answering(certificate) as (address, _):
                assert (await exporter.probe(f"{address}/well", "http_2xx"))["probe_success"] == 0, certificate
    async with exporting(tmp_path, authority, trusts=False) as exporter:
        with answering(good) as (address, _):
            assert (await exporter.probe(f"{address}/well", "http_2xx"))["probe_success"] == 0


async def test_an_authority_of_our_own_is_trusted_where_it_is_named(tmp_path: Path, authority: Authority) -> None:
    """As in docker compose, whose certificate no public authority signs."""
    with answering(authority.certificate(dt.datetime.now(dt.UTC) + dt.timedelta(days=40))) as (address, _):
        async with exporting(tmp_path, authority, trusts=False) as exporter:
            seen = await exporter.probe(f"{address}/well", "http_2xx_own_ca")
    assert seen["probe_success"] == 1
    assert seen["probe_ssl_earliest_cert_expiry"] > 0


@pytest.mark.parametrize(("path", "success"), [("/well", 1), ("/empty", 0), ("/down", 0)])
async def test_a_process_is_ready_when_it_says_so(
    tmp_path: Path, authority: Authority, path: str, success: float
) -> None:
    """Without TLS, with 200 and nothing else."""
    with answering(None) as (address, _):
        async with exporting(tmp_path, authority) as exporter:
            assert (await exporter.probe(address + path, "http_health"))["probe_success"] == success


def test_every_try_ends_before_prometheus_gives_up_and_says_what_it_is() -> None:
    """A try that hangs is then a failed one and no gap; none is counted as a user."""
    given_up = float(yaml.safe_load((CHART / "values.yaml").read_text())["probes"]["scrapeTimeout"].removesuffix("s"))
    for name, module in MODULES.items():
        assert float(module["timeout"].removesuffix("s")) < given_up, name
        assert module["http"]["headers"]["User-Agent"].encode().startswith(_SYNTHETIC), name
        assert not module["http"].get("tls_config", {}).get("insecure_skip_verify"), name


def test_the_examples_of_the_chart_name_modules_that_are_here() -> None:
    """A module that the exporter does not know answers every try with 400."""
    examples = [yaml.safe_load(file.read_text()) for file in (CHART / "examples").glob("*.yaml")]
    asked = {target["module"] for values in examples for target in values.get("probes", {}).get("targets", {}).values()}
    assert asked
    assert asked <= MODULES.keys()
