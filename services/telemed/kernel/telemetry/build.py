"""What runs: the version of the distribution, as it was installed."""

import importlib.metadata


def version() -> str:
    """Give the version of telemed."""
    return importlib.metadata.version("telemed")
