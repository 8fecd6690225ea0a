"""Where panels lead."""

from observability.boards.model import Link

RUNBOOKS = "https://github.com/telemed/telemed/blob/main/observability/runbooks/"
# The reader stays where they are in time, source and namespace.
_AS_HERE = "${__url_time_range}&${datasource:queryparam}&${namespace:queryparam}"


def runbook(page: str) -> Link:
    """Link to a page of observability/runbooks, by its name without ending."""
    return Link(f"Runbook: {page.replace('-', ' ')}", f"{RUNBOOKS}{page}.md")


def board(name: str, title: str) -> Link:
    """Link to another board."""
    return Link(f"Board: {title}", f"/d/telemed-{name}?{_AS_HERE}")


OVERVIEW = board("overview", "overview")
SLO = board("slo", "objectives")
RED = board("red", "requests")
DATA = board("data", "data plane")
BOOKING = board("booking", "booking")
LOAD = board("load", "load test")
