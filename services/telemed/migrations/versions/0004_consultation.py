"""Prescriptions. Safe before the code (pre)."""

from telemed.migrations.sql import run

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run("CREATE SCHEMA consultation")


def downgrade() -> None:
    run("DROP SCHEMA consultation CASCADE")
