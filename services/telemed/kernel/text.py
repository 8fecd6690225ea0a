"""Types of request fields that refuse what the database, a log or a screen cannot hold.

The rules are regular expressions and ranges rather than code, so that the OpenAPI document says exactly what
the server does.
"""

import re
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, PlainSerializer, Strict, StringConstraints

# Built from two sets of characters, so that both patterns read the same way: anything that is not excluded, around
# one character that can be seen. Lone surrogates never get this far (strict_json).
_INVISIBLE = r"\x00-\x20\x7f-\xa0\u2000-\u200f\u2028-\u202f\u3000\ufeff"
_NOT_IN_LINES = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
_NOT_IN_TEXTS = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # line breaks and tabs are fine
_LINE = f"^[^{_NOT_IN_LINES}]*[^{_INVISIBLE}][^{_NOT_IN_LINES}]*$"
_TEXT = f"^[^{_NOT_IN_TEXTS}]*[^{_INVISIBLE}][^{_NOT_IN_TEXTS}]*$"

Line80 = Annotated[str, Strict(), StringConstraints(min_length=1, max_length=80, pattern=_LINE)]
Line200 = Annotated[str, Strict(), StringConstraints(min_length=1, max_length=200, pattern=_LINE)]
Text1000 = Annotated[str, Strict(), StringConstraints(min_length=1, max_length=1000, pattern=_TEXT)]
Text4000 = Annotated[str, Strict(), StringConstraints(min_length=1, max_length=4000, pattern=_TEXT)]

_RFC3339 = re.compile(r"^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d")
# Instants outside these years are mistakes, and far ones overflow Postgres' ranges or Python's datetime.
EARLIEST_INSTANT = datetime(2000, 1, 1, tzinfo=UTC)
LATEST_INSTANT = datetime(2100, 1, 1, tzinfo=UTC)


def _require_text(value: object) -> object:
    # Pydantic reads numbers as Unix time, in seconds or milliseconds by guess; the API's instants are RFC 3339.
    # As a string of digits too.
    if isinstance(value, datetime) or (isinstance(value, str) and _RFC3339.match(value)):
        return value
    raise ValueError("an instant is an RFC 3339 string with a UTC offset, for example 2026-11-23T09:00:00Z")


def _in_utc(value: datetime) -> datetime:
    # Compared before the conversion too: near year 1 or 9999 the conversion itself would overflow.
    if not EARLIEST_INSTANT.year - 1 <= value.year <= LATEST_INSTANT.year:
        raise ValueError("the year must lie between 2000 and 2099")
    instant = value.astimezone(UTC)
    if not EARLIEST_INSTANT <= instant < LATEST_INSTANT:
        raise ValueError("the year must lie between 2000 and 2099")
    return instant


# What slots begin and end at. A page has eighty such instants, and looking them up takes a fifth of the time that the
# library needs to write them.
_MINUTES_OF_A_DAY = [f"T{minute // 60:02d}:{minute % 60:02d}:00Z" for minute in range(24 * 60)]


@lru_cache(maxsize=1024)
def _day(ordinal: int) -> str:
    return date.fromordinal(ordinal).isoformat()


def lowered(text: str) -> str:
    """Write a text in lower case as PostgreSQL's `lower` does, so that what is compared with it can be equal.

    Python lowers two letters otherwise: a sigma by its place in the word, and the dotted capital I to two characters.
    """
    return text.replace("Σ", "σ").replace("İ", "i").lower()


def rfc3339(value: datetime) -> str:
    """Write an aware instant as RFC 3339 in UTC, microseconds only if there are any."""
    instant = value if value.tzinfo is UTC else value.astimezone(UTC)
    if instant.second or instant.microsecond:
        return f"{instant.isoformat()[: -len('+00:00')]}Z"
    return _day(instant.toordinal()) + _MINUTES_OF_A_DAY[60 * instant.hour + instant.minute]


Instant = Annotated[
    AwareDatetime,
    BeforeValidator(_require_text, json_schema_input_type=str),
    AfterValidator(_in_utc),
    PlainSerializer(rfc3339, when_used="json", return_type=str),
    Field(json_schema_extra={"format": "date-time", "description": "RFC 3339 instant."}),
]


def _restore_plus(value: object) -> object:
    # In a query string an unescaped plus means a space: "…T09:00:00 05:30" was meant as an offset.
    if isinstance(value, str) and len(value) > 6 and value[-6] == " ":
        return value[:-6] + "+" + value[-5:]
    return value


# An instant in a query string.
QueryInstant = Annotated[Instant, BeforeValidator(_restore_plus, json_schema_input_type=str)]
