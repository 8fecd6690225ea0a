"""Notes SQL statements as spans, in OpenTelemetry's words for databases."""

import re
from functools import lru_cache
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from telemed.kernel.telemetry.spans import Attributes, Kind, around, span

# Source: OpenTelemetry semantic conventions, database client spans (stable since 1.33).
DATABASE: Attributes = {"db.system.name": "postgresql"}
_MAX_TEXT = 2000
_VERB = re.compile(r"^\s*(SELECT|INSERT|UPDATE|DELETE|SET)\b", re.IGNORECASE)
# Behind WITH, what is changed says more than what is read. `FOR UPDATE` changes nothing.
_CHANGE = re.compile(r"(?<!FOR )(?<!KEY )\b(INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s+([a-z_.]+)", re.IGNORECASE)
_TABLE = re.compile(r"\b(?:FROM|INTO|UPDATE)\s+(?:ONLY\s+)?([a-z_]+\.[a-z_]+)", re.IGNORECASE)


def trace_statements(engine: AsyncEngine) -> None:
    """Note each statement of this engine, where a unit of work is looked at."""

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def _before(_connection: Any, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: Any) -> None:
        # SQLAlchemy's events are untyped.
        place = around()
        if place is not None and context is not None:
            name, attributes = described(statement)
            note = span(name, Kind.CLIENT, attributes)
            note.begin(place)
            context.telemed_span = note

    @event.listens_for(engine.sync_engine, "after_cursor_execute")
    def _after(_connection: Any, _cursor: Any, _statement: str, _parameters: Any, context: Any, _many: Any) -> None:
        note = getattr(context, "telemed_span", None)
        if note is not None:
            note.end()

    @event.listens_for(engine.sync_engine, "handle_error")
    def _failed(failure: Any) -> None:
        note = getattr(failure.execution_context, "telemed_span", None)
        if note is not None:
            # The SQLSTATE at most: what the server says may quote a row.
            state = getattr(failure.original_exception, "sqlstate", None)
            note.end(state or type(failure.original_exception).__name__)


@lru_cache(maxsize=512)
def described(statement: str) -> tuple[str, Attributes]:
    """Give a statement's summary, such as ``SELECT booking.slots``, and its attributes.

    The text has placeholders where values go (asyncpg's $1), so nothing of a patient is in it.
    """
    change = _CHANGE.search(statement)
    verb = _VERB.match(statement)
    table = _TABLE.search(statement)
    if change is not None:
        operation, target = change[1].split()[0].upper(), change[2]
    else:
        operation = verb[1].upper() if verb else "SELECT"
        target = table[1] if table else ""
    summary = f"{operation} {target}".strip()
    attributes: Attributes = {
        **DATABASE,
        "db.operation.name": operation,
        "db.query.summary": summary,
        "db.query.text": " ".join(statement.split())[:_MAX_TEXT],
        **({"db.collection.name": target} if target else {}),
    }
    return summary, attributes
