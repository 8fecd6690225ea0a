"""Everything that follows from the objectives, as files of the checkout: what they should be, and which are not."""

from collections.abc import Mapping
from pathlib import Path

from telemed.kernel.settings import SettingsProblem
from telemed.slo.catalogue import Slo, load_slos
from telemed.slo.documents import page, table
from telemed.slo.gates import gates
from telemed.slo.prometheus_rules import family_of, groups
from telemed.slo.scenes import tests_of
from telemed.slo.written import as_json, as_yaml

SPECIFICATIONS = Path("observability/slo")
RULES = Path("charts/telemed-observability/rules")
TESTS = Path("observability/slo/tests")
GATES = Path("load-tests/gates.json")
PAGE = Path("docs/slo.md")
README = Path("README.md")
BEGIN, END = "<!-- slo: written by `telemed slo build` -->", "<!-- /slo -->"


def files(root: Path) -> dict[Path, str]:
    """Give every generated file's text, by its path in the checkout.

    Raises:
        SettingsProblem: the objectives cannot be read, or the README has no place for them.
    """
    slos = load_slos(root / SPECIFICATIONS)
    made = {GATES: as_json(gates(slos)), PAGE: page(slos), README: _readme(root, slos)}
    for slo in slos:
        rules, family = _rules(slo), family_of(slo, slos)
        about = f"What is good, bad and left out, and why: observability/slo/{slo.concern}.yaml and docs/slo.md."
        made[rules] = as_yaml({"groups": groups(slo, family)}, about)
        kin = [one for one in (family.whole, slo, *family.parts) if one is not None]
        needed = [f"../../../{_rules(one)}" for one in kin]
        for about, tests in tests_of(slo, family, needed).items():
            heading = f"Run by `promtool test rules`: {slo.title}, {about}."
            made[TESTS / f"slo-{slo.name}-{about}.yaml"] = as_yaml(tests, heading)
    return made


def _rules(slo: Slo) -> Path:
    return RULES / f"slo-{slo.name}.yaml"


def outdated(root: Path, made: Mapping[Path, str]) -> list[Path]:
    """Name what is not as it should be: other in content, missing, or left over from an objective that is gone."""
    differing = [path for path, text in made.items() if _read(root / path) != text]
    leftovers = [path.relative_to(root) for folder in (RULES, TESTS) for path in (root / folder).glob("slo-*.yaml")]
    return sorted({*differing, *(path for path in leftovers if path not in made)})


def write(root: Path, made: Mapping[Path, str]) -> None:
    """Write what differs and take away what is left over."""
    for path in outdated(root, made):
        if path in made:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(made[path], encoding="utf-8")
        else:
            (root / path).unlink()


def _readme(root: Path, slos: list[Slo]) -> str:
    text = _read(root / README) or ""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SettingsProblem(f"{README} has no place for the objectives between {BEGIN} and {END}.")
    return f"{before}{BEGIN}\n\n{table(slos)}\n{END}{after}"


def _read(file: Path) -> str | None:
    return file.read_text(encoding="utf-8") if file.exists() else None
