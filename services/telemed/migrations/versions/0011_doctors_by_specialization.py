"""An index for the doctors of a specialization, as search asks for them. Safe before the code (pre)."""

from telemed.migrations.sql import run

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    run(
        # Writers of the directory wait while it is built: a tenth of a second for a hundred thousand doctors.
        "CREATE INDEX doctors_by_specialization ON booking.doctors (lower(specialization)) WHERE is_listed",
    )


def downgrade() -> None:
    run("DROP INDEX booking.doctors_by_specialization")
