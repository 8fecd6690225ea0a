"""The timelines that the primary has been on. Safe before the code (pre)."""

from telemed.migrations.sql import run

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run(
        # Data, because it must reach the replicas the way data do: one that shows a timeline has come that far.
        """
        CREATE TABLE platform.timelines (
            timeline integer CONSTRAINT timelines_pkey PRIMARY KEY,
            noted_at timestamptz NOT NULL
        )
        """,
        "GRANT SELECT ON platform.timelines TO telemed_services, telemed_worker, telemed_auditor",
        "GRANT INSERT ON platform.timelines TO telemed_worker",
        """
        INSERT INTO platform.timelines (timeline, noted_at)
        VALUES (('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::integer, now())
        """,
    )


def downgrade() -> None:
    run("DROP TABLE platform.timelines")
