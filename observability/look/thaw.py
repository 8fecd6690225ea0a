"""Lets frozen processes go on when standard input ends: when it is closed, or when who froze them is gone.

Run as a script of its own, with the processes' numbers as arguments.
"""

import contextlib
import os
import signal
import sys

if __name__ == "__main__":
    sys.stdin.read()
    for process in sys.argv[1:]:
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
            os.kill(int(process), signal.SIGCONT)
