"""Lets everybody in, however late the event loop is: the machine that runs the tests is busy with them.

Who is refused when it is late has tests of its own (tests/unit/kernel/test_admission.py).
"""

from telemed.kernel.http import admission

admission.LATENESS_SECONDS = {}
