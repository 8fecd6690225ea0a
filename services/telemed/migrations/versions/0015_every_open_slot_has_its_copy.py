"""Every open slot that can still be booked has the copy of 0013: search may rely on it. Safe before the code (pre)."""

from telemed.migrations.sql import run

revision = "0015"
down_revision = "0014"

_FILL = """
UPDATE booking.slots AS s SET specialization_key = lower(d.specialization)
FROM booking.doctors AS d
WHERE d.id = s.doctor_id AND s.id IN (
    SELECT id FROM booking.slots WHERE status = 'open' AND specialization_key IS NULL AND starts_at > now() {pieces}
)
"""
# A million slots take a minute or two, and whoever books one of them waits for the transaction that it is in. Those
# that are in somebody's hands just now are left to the end.
IN_PIECES = _FILL.format(pieces="ORDER BY starts_at, id LIMIT 1000 FOR UPDATE SKIP LOCKED")


def upgrade() -> None:
    run(_FILL.format(pieces=""))


def downgrade() -> None:
    """Leave the copies: the version before has no use for them, and keeps them true."""
