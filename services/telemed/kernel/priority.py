"""Which requests go first when there are too many: a service names its routes' priorities as data."""

from enum import StrEnum


class Priority(StrEnum):
    """What a refusal would cost whom; in the order in which requests are let in."""

    CRITICAL = "critical"  # somebody's appointment, visit, prescription or session hangs on it
    NORMAL = "normal"  # whatever no service has named
    BROWSING = "browsing"  # answered from elsewhere, or asked again by itself: search, directory, keys, documentation
    EXPORT = "export"  # long, for machines, and never urgent
