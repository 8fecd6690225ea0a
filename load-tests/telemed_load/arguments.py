"""What a command line's argument may be, for `argparse`."""

import argparse
import math


def positive(text: str) -> float:
    """Read a number above 0 that has an end.

    Raises:
        ArgumentTypeError: it is another text.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text!r}")
    return number


def whole(text: str) -> int:
    """Read a whole number, 0 or more.

    Raises:
        ArgumentTypeError: it is another text.
    """
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number, 0 or more, not {text!r}")
    return int(text)
