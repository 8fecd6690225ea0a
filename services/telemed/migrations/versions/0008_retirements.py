"""Which months of the trail were exported and taken away. Safe before the code (pre)."""

from telemed.migrations.sql import run

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run(
        # Only the owner writes it, together with the record in the trail that says so. No foreign key: that record is
        # retired itself one day.
        """
        CREATE TABLE audit.retired (
            record_id uuid CONSTRAINT retired_pkey PRIMARY KEY,
            label text NOT NULL,
            from_id uuid NOT NULL,
            to_id uuid NOT NULL,
            row_count bigint NOT NULL,
            sha256 bytea NOT NULL CONSTRAINT retired_sha256 CHECK (octet_length(sha256) = 32),
            retired_at timestamptz NOT NULL,
            CONSTRAINT retired_range CHECK (from_id < to_id)
        )
        """,
        """
        CREATE TRIGGER retired_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.retired
        FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change()
        """,
        "GRANT SELECT ON audit.retired TO telemed_auditor, telemed_worker",
    )


def downgrade() -> None:
    run("DROP TABLE audit.retired")
