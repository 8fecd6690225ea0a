"""A few columns and indexes for the worker, which looks for what must never be. Safe before the code (pre)."""

from telemed.migrations.sql import run

revision = "0009"
down_revision = "0008"

# Ids, states and instants: what the queries compare and nothing else. Not the reason of a visit, and of a prescription
# not even whose it is.
_READABLE = {
    "booking.appointments": "id, slot_id, doctor_id, patient_id, status, starts_at, ends_at, created_at, started_at",
    "booking.slots": "id, doctor_id, status, starts_at, ends_at",
    "consultation.prescriptions": "id, consultation_id",
}


def upgrade() -> None:
    run(
        # What lies ahead, without a look at years of history. Independent of the exclusion constraints, whose absence
        # is what the queries are there to find. Their predicates cost no update its shortcut (HOT): changing a status
        # changes other indexes already. Writers wait while they are built: a second for a million rows.
        """
        CREATE INDEX appointments_occupying_until ON booking.appointments (ends_at)
        WHERE status IN ('booked', 'in_progress', 'completed', 'no_show')
        """,
        "CREATE INDEX slots_booked_until ON booking.slots (ends_at) WHERE status = 'booked'",
        # Events lie in the order of their time, so a few bytes for every 32 pages find a day among months.
        """
        CREATE INDEX outbox_time ON platform.outbox USING brin (occurred_at)
        WITH (pages_per_range = 32, autosummarize = on)
        """,
        "GRANT USAGE ON SCHEMA consultation TO telemed_worker",
        *(f"GRANT SELECT ({columns}) ON {table} TO telemed_worker" for table, columns in _READABLE.items()),
    )


def downgrade() -> None:
    run(
        *(f"REVOKE SELECT ({columns}) ON {table} FROM telemed_worker" for table, columns in _READABLE.items()),  # noqa: S608 - our own names
        "REVOKE USAGE ON SCHEMA consultation FROM telemed_worker",
        "DROP INDEX platform.outbox_time",
        "DROP INDEX booking.slots_booked_until",
        "DROP INDEX booking.appointments_occupying_until",
    )
