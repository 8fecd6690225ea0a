"""Prescriptions. Safe before the code (pre)."""

from telemed.migrations.sql import run

revision = "0004"
down_revision = "0003"

# A prescription that was handed out must not change afterwards, by whomever; a correction is a new version.
_IMMUTABLE = """
CREATE FUNCTION consultation.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'prescriptions are immutable; issue a new version' USING ERRCODE = 'insufficient_privilege';
END $$
"""


def upgrade() -> None:
    run(
        "CREATE SCHEMA consultation",
        "GRANT USAGE ON SCHEMA consultation TO telemed_services",
        """
        CREATE TABLE consultation.prescriptions (
            id uuid CONSTRAINT prescriptions_pkey PRIMARY KEY,
            consultation_id uuid NOT NULL
                CONSTRAINT prescriptions_consultation REFERENCES booking.appointments (id),
            doctor_id uuid NOT NULL,
            patient_id uuid NOT NULL,
            version integer NOT NULL CONSTRAINT prescriptions_version CHECK (version >= 1),
            supersedes uuid
                CONSTRAINT prescriptions_supersedes REFERENCES consultation.prescriptions (id)
                CONSTRAINT prescriptions_supersedes_key UNIQUE,
            issued_at timestamptz NOT NULL,
            diagnosis text,
            items jsonb NOT NULL CONSTRAINT prescriptions_items
                CHECK (jsonb_typeof(items) = 'array' AND jsonb_array_length(items) BETWEEN 1 AND 50),
            advice text,
            follow_up_on date,
            CONSTRAINT prescriptions_version_key UNIQUE (consultation_id, version),
            CONSTRAINT prescriptions_first CHECK ((version = 1) = (supersedes IS NULL))
        )
        """,
        _IMMUTABLE,
        """
        CREATE TRIGGER prescriptions_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON consultation.prescriptions
        FOR EACH STATEMENT EXECUTE FUNCTION consultation.refuse_change()
        """,
        "GRANT SELECT, INSERT ON consultation.prescriptions TO telemed_services",
    )


def downgrade() -> None:
    run("DROP SCHEMA consultation CASCADE")
