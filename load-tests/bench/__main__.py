"""Run the benchmarks: `python load-tests/bench [--only NAMES] [--tiny] [--biggest 1e7]`, or `make bench`.

Exit codes: 0 every target is met, 1 one is missed, 2 something could not be measured.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "load-tests"), str(ROOT / "services")]

from bench.command import main

if __name__ == "__main__":
    raise SystemExit(main())
