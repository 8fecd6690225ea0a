"""What a statement is called in a trace."""

import pytest

from telemed.kernel.telemetry.statements import described


@pytest.mark.parametrize(
    ("statement", "summary"),
    [
        ("SELECT s.id FROM booking.slots AS s WHERE s.id = $1", "SELECT booking.slots"),
        ("SELECT s.id FROM booking.slots AS s FOR UPDATE OF s", "SELECT booking.slots"),
        ("SELECT 1 FROM booking.slots FOR NO KEY UPDATE", "SELECT booking.slots"),
        ("INSERT INTO audit.records (id) VALUES ($1)", "INSERT audit.records"),
        ("INSERT INTO a.b VALUES ($1) ON CONFLICT DO UPDATE SET x = $2", "INSERT a.b"),
        ("UPDATE booking.slots SET status = $1", "UPDATE booking.slots"),
        ("DELETE FROM platform.handled_events WHERE x", "DELETE platform.handled_events"),
        (
            "WITH due AS (SELECT id FROM a.b) UPDATE platform.outbox AS o SET x = 1",
            "UPDATE platform.outbox",
        ),
        ("SET LOCAL lock_timeout = '2s'", "SET"),
        ("SELECT pg_advisory_xact_lock($1)", "SELECT"),
        ("", "SELECT"),
    ],
)
def test_a_statement_is_called_by_what_it_does_to_which_table(statement: str, summary: str) -> None:
    """OpenTelemetry's summary: few names, so that a backend can group by them."""
    assert described(statement)[0] == summary


def test_the_text_is_one_line_and_bounded() -> None:
    """As long as a person reads."""
    _, attributes = described(f"SELECT\n   1 -- {'x' * 5000}")
    text = str(attributes["db.query.text"])
    assert text.startswith("SELECT 1 --")
    assert len(text) == 2000
