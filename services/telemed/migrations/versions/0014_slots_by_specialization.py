"""Open slots by specialization, as search asks for them most. Safe before the code (pre)."""

from telemed.migrations.sql import run

revision = "0014"
down_revision = "0013"

# To add a column is to lock everybody out, for a moment; not for as long as this index is built.
IS_APART = True


def upgrade() -> None:
    run(
        # Whoever writes slots waits meanwhile, a second or two for a million open ones. Where that is too long, build
        # it CONCURRENTLY beforehand, under this name.
        """
        CREATE INDEX IF NOT EXISTS slots_search_by_specialization
        ON booking.slots (specialization_key, starts_at, id)
        INCLUDE (doctor_id, ends_at, version) WHERE status = 'open'
        """
    )


def downgrade() -> None:
    run("DROP INDEX booking.slots_search_by_specialization")
