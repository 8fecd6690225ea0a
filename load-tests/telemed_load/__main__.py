"""`python -m telemed_load`, which `make load` calls."""

import sys

from telemed_load.command import main

if __name__ == "__main__":
    sys.exit(main())
