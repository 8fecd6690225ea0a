"""Users and sessions, and the views by which other services know of them. Safe before the code (pre)."""

from telemed.migrations.sql import run

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run(
        "CREATE SCHEMA auth",
        "GRANT USAGE ON SCHEMA auth TO telemed_services, telemed_worker, telemed_auditor",
        """
        CREATE TABLE auth.users (
            id uuid CONSTRAINT users_pkey PRIMARY KEY,
            email text NOT NULL CONSTRAINT users_email_key UNIQUE,
            full_name text NOT NULL,
            phone text,
            role text NOT NULL CONSTRAINT users_role CHECK (role IN ('patient', 'doctor', 'admin')),
            password_hash text NOT NULL,
            created_at timestamptz NOT NULL,
            version integer NOT NULL DEFAULT 1
        )
        """,
        """
        CREATE TABLE auth.sessions (
            id uuid CONSTRAINT sessions_pkey PRIMARY KEY,
            user_id uuid NOT NULL CONSTRAINT sessions_user REFERENCES auth.users (id),
            generation integer NOT NULL DEFAULT 0,
            rotated_at timestamptz NOT NULL,
            created_at timestamptz NOT NULL,
            expires_at timestamptz NOT NULL,
            revoked_at timestamptz,
            revoked_because text
        )
        """,
        "CREATE INDEX sessions_of_user ON auth.sessions (user_id) WHERE revoked_at IS NULL",
        "CREATE VIEW auth.people AS SELECT id, full_name, role FROM auth.users",
        "CREATE VIEW auth.revoked_sessions AS SELECT id FROM auth.sessions WHERE revoked_at IS NOT NULL",
        "GRANT SELECT ON auth.people, auth.revoked_sessions TO telemed_services, telemed_worker, telemed_auditor",
        "GRANT SELECT, INSERT, UPDATE ON auth.users, auth.sessions TO telemed_services",
        "GRANT SELECT, DELETE ON auth.sessions TO telemed_worker",
    )


def downgrade() -> None:
    run("DROP SCHEMA auth CASCADE")
