"""Make the data that load tests and benchmarks run on: `python load-tests/dataset load --slots 1e6`."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "load-tests"), str(ROOT / "services")]

from dataset.command import main

if __name__ == "__main__":
    raise SystemExit(main())
