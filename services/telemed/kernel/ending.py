"""What a transaction leaves behind besides its effect: audit records, events, replies under idempotency keys.

They are collected while it runs and written by one statement right before its COMMIT (`Database`): a transaction that
is committed has all of them, one whose operation raised has none.
"""

from typing import Any

# Each in the order of its columns in platform.write_ending, which is the order of the parameters.
Row = tuple[Any, ...]
RECORD_COLUMNS, EVENT_COLUMNS, REPLY_COLUMNS = 13, 5, 9
_COLUMNS = RECORD_COLUMNS + EVENT_COLUMNS + REPLY_COLUMNS
WRITE_ENDING = f"SELECT FROM platform.write_ending({', '.join(f'${number}' for number in range(1, _COLUMNS + 1))})"


class Ending:
    """What one transaction has collected and not yet written."""

    __slots__ = ("events", "records", "replies")

    def __init__(self) -> None:
        self.records: list[Row] = []
        self.events: list[Row] = []
        self.replies: list[Row] = []

    def __bool__(self) -> bool:
        """Tell whether there is anything to write."""
        return bool(self.records or self.events or self.replies)

    def take(self) -> list[list[Any]]:
        """Give the values of `WRITE_ENDING`, one list for each column, and keep nothing."""
        values = [
            *_columns(self.records, RECORD_COLUMNS),
            *_columns(self.events, EVENT_COLUMNS),
            *_columns(self.replies, REPLY_COLUMNS),
        ]
        self.records, self.events, self.replies = [], [], []
        return values


def _columns(rows: list[Row], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]
