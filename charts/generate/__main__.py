"""`python -m charts.generate`: write every derived file of the charts; `--check` only says which are out of date."""

import sys
from collections.abc import Iterator
from pathlib import Path

from charts.generate.schema import schema_text
from charts.generate.tables import BEGIN, with_tables

CHARTS = Path(__file__).parents[1]


def derived() -> Iterator[tuple[Path, str]]:
    """Give each derived file and what should be in it."""
    for values in sorted(CHARTS.glob("*/values.yaml")):
        yield values.with_name("values.schema.json"), schema_text(values)
    for readme in sorted(CHARTS.glob("*/README.md")):
        if BEGIN in readme.read_text():
            yield readme, with_tables(readme.read_text(), readme.with_name("values.yaml"))


def stale() -> list[tuple[Path, str]]:
    """Give those that are not what they should be."""
    return [(path, text) for path, text in derived() if not path.exists() or path.read_text() != text]


def main(arguments: list[str]) -> int:
    """Write, or with `--check` only compare; return the exit code."""
    out_of_date = stale()
    for path, text in out_of_date:
        if "--check" in arguments:
            sys.stderr.write(f"{path.relative_to(CHARTS.parent)} is out of date; run: make charts\n")
        else:
            path.write_text(text)
            sys.stdout.write(f"wrote {path.relative_to(CHARTS.parent)}\n")
    return 1 if out_of_date and "--check" in arguments else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
