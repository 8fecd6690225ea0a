"""`telemed run` without a worker: the look starts one of its own, which may be killed without ending the platform."""

import sys

from telemed.local.platform import Commands, run

_NOBODY = (sys.executable, "-c", "import signal; signal.pause()")

if __name__ == "__main__":
    raise SystemExit(run(int(sys.argv[1]), Commands(work=_NOBODY)))
