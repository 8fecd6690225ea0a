"""`python -m tests.charts.invariants < rendered.yaml`: print what is wrong, and exit 1 if anything is.

`--list` prints the invariants instead, `--allow NAME` leaves one out.
"""

import argparse
import sys

import yaml
from tests.charts.invariants.objects import Rendering
from tests.charts.invariants.registry import INVARIANTS, violations


def main() -> int:
    """Read objects from standard input and judge them."""
    parser = argparse.ArgumentParser(prog="python -m tests.charts.invariants", description=__doc__)
    parser.add_argument("--list", action="store_true", help="print the invariants")
    parser.add_argument("--allow", action="append", default=[], metavar="NAME", help="leave this invariant out")
    arguments = parser.parse_args()
    unknown = set(arguments.allow) - {one.name for one in INVARIANTS}
    if unknown:
        parser.error(f"there is no invariant {sorted(unknown)[0]!r}")
    if arguments.list:
        sys.stdout.writelines(f"{one.name}: {one.why}\n" for one in INVARIANTS)
        return 0
    found = violations(Rendering(yaml.safe_load_all(sys.stdin)), allowed=arguments.allow)
    sys.stdout.writelines(f"{violation}\n" for violation in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
