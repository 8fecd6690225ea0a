"""The indexes of open slots hold all that search reads of a slot. Safe before the code (pre).

A search of one specialization passes by the slots of the others: read from the index alone, a page costs PostgreSQL
half of what it did. Nothing is written more often: a booking takes a slot out of these indexes, and puts none in.
"""

from telemed.migrations.sql import run

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    run(
        # Whoever writes slots waits while they are built, a second or two for a million open ones. Where that is too
        # long, build them CONCURRENTLY beforehand, under these names.
        """
        CREATE INDEX IF NOT EXISTS slots_search_by_time ON booking.slots (starts_at, id)
        INCLUDE (doctor_id, ends_at, version) WHERE status = 'open'
        """,
        """
        CREATE INDEX IF NOT EXISTS slots_search_by_doctor ON booking.slots (doctor_id, starts_at, id)
        INCLUDE (ends_at, version) WHERE status = 'open'
        """,
        "DROP INDEX booking.slots_open_by_time",
        "DROP INDEX booking.slots_open_by_doctor",
    )


def downgrade() -> None:
    run(
        "CREATE INDEX slots_open_by_time ON booking.slots (starts_at, id) WHERE status = 'open'",
        "CREATE INDEX slots_open_by_doctor ON booking.slots (doctor_id, starts_at, id) WHERE status = 'open'",
        "DROP INDEX booking.slots_search_by_time",
        "DROP INDEX booking.slots_search_by_doctor",
    )
