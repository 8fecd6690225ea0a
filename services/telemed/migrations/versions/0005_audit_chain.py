"""The hash chain over the audit trail. Safe before the code (pre)."""

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
