"""Open slots carry their doctor's specialization. Safe before the code (pre).

An open slot has a copy of it, in lower case, so that a page of one specialization is read from an index (0014) and not
picked from the slots of all others. The copies are the database's business alone: whoever writes a slot or an entry of
the directory, in whichever version of the code, need not know of them. What was open before gets its copy in 0015.
"""

from telemed.migrations.sql import run

revision = "0013"
down_revision = "0012"

# Locked, so that an entry that is being changed is waited for; whoever changes it waits for this slot in turn, and
# then sees it. Only the doctor's row is locked, and nobody who books needs it.
_COPY = """
CREATE FUNCTION booking.copy_specialization() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    SELECT pg_catalog.lower(d.specialization) INTO NEW.specialization_key
    FROM booking.doctors AS d WHERE d.id = NEW.doctor_id FOR SHARE;
    RETURN NEW;
END $$
"""
# One that is booked gets its copy when it opens again.
_SPREAD = """
CREATE FUNCTION booking.spread_specialization() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    UPDATE booking.slots SET specialization_key = pg_catalog.lower(NEW.specialization)
    WHERE doctor_id = NEW.id AND status = 'open';
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    run(
        "ALTER TABLE booking.slots ADD COLUMN specialization_key text",
        _COPY,
        # Who loads millions of slots brings the copies along.
        """
        CREATE TRIGGER slots_specialization_of_new BEFORE INSERT ON booking.slots
        FOR EACH ROW WHEN (NEW.specialization_key IS NULL) EXECUTE FUNCTION booking.copy_specialization()
        """,
        """
        CREATE TRIGGER slots_specialization_of_reopened BEFORE UPDATE OF status ON booking.slots
        FOR EACH ROW WHEN (NEW.status = 'open' AND OLD.status <> 'open') EXECUTE FUNCTION booking.copy_specialization()
        """,
        _SPREAD,
        """
        CREATE TRIGGER doctors_specialization AFTER UPDATE OF specialization ON booking.doctors
        FOR EACH ROW WHEN (lower(NEW.specialization) <> lower(OLD.specialization))
        EXECUTE FUNCTION booking.spread_specialization()
        """,
    )


def downgrade() -> None:
    run(
        "DROP TRIGGER doctors_specialization ON booking.doctors",
        "DROP TRIGGER slots_specialization_of_reopened ON booking.slots",
        "DROP TRIGGER slots_specialization_of_new ON booking.slots",
        "DROP FUNCTION booking.spread_specialization()",
        "DROP FUNCTION booking.copy_specialization()",
        "ALTER TABLE booking.slots DROP COLUMN specialization_key",
    )
