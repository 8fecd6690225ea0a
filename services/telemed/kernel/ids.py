"""Identifiers that sort by time of creation."""

import secrets
import time
from uuid import UUID


def uuid7(unix_ms: int | None = None) -> UUID:
    """Make a UUID version 7: 48 bits of Unix milliseconds, then 74 random bits.

    Made here and not by the database, because PostgreSQL has `uuidv7()` from 18 on only.
    Source: RFC 9562, section 5.7.
    """
    moment = time.time_ns() // 1_000_000 if unix_ms is None else unix_ms
    value = (moment & 0xFFFF_FFFF_FFFF) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76  # version
    value = value & ~(0x3 << 62) | 0x2 << 62  # variant
    return UUID(int=value)
