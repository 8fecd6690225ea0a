"""Who is a doctor, told by a small index alone: search asks it for each slot that it finds. Safe before the code (pre).

The other way is through the primary key of all users to a row that is wide and far from the next.
"""

from telemed.migrations.sql import run

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    run(
        # Whoever writes users waits meanwhile, half a second for a million. Where that is too long, build it
        # CONCURRENTLY beforehand, under this name.
        "CREATE INDEX IF NOT EXISTS users_doctors ON auth.users (id) WHERE role = 'doctor'"
    )


def downgrade() -> None:
    run("DROP INDEX auth.users_doctors")
