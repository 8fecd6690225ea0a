"""Each doctor's card lies ready as JSON: search shows it with every slot that it finds. Safe before the code (pre).

To write it anew for the dozens of slots of each page costs as much as finding them. The column is generated, so whoever
writes an entry, in whichever version of the code, writes the card with it.
"""

from telemed.migrations.sql import run

revision = "0018"
down_revision = "0017"

# Byte for byte what pydantic writes of a `DoctorCard`. `to_json` is not called immutable, as it depends on settings for
# some types; for text it does not.
_CARD = """
CREATE FUNCTION booking.doctor_card(
    id uuid, full_name text, specialization text, languages text[], fee_minor bigint, fee_currency text
) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '{"id":"' || id::text || '","full_name":' || to_json(full_name)::text
    || ',"specialization":' || to_json(specialization)::text || ',"languages":' || to_json(languages)::text
    || ',"fee":{"amount_minor":' || fee_minor::text || ',"currency":' || to_json(fee_currency)::text || '}}'
"""


def upgrade() -> None:
    run(
        _CARD,
        # Writes the table anew, and whoever searches or books waits meanwhile: a second for a hundred thousand doctors.
        """
        ALTER TABLE booking.doctors ADD COLUMN card text NOT NULL GENERATED ALWAYS AS (
            booking.doctor_card(id, full_name, specialization, languages, fee_minor, fee_currency)
        ) STORED
        """,
    )


def downgrade() -> None:
    run(
        "ALTER TABLE booking.doctors DROP COLUMN card",
        "DROP FUNCTION booking.doctor_card(uuid, text, text, text[], bigint, text)",
    )
