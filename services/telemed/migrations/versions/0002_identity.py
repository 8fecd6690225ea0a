"""Users, sessions, counts of failed logins; the views by which others know of them. Safe before the code (pre)."""

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
        "CREATE INDEX users_admins ON auth.users (id) WHERE role = 'admin'",
        "CREATE INDEX sessions_of_user ON auth.sessions (user_id) WHERE revoked_at IS NULL",
        "CREATE INDEX sessions_age ON auth.sessions (expires_at)",
        """
        CREATE TABLE auth.login_buckets (
            bucket bytea CONSTRAINT login_buckets_pkey PRIMARY KEY,
            clears_at timestamptz NOT NULL
        )
        """,
        "CREATE INDEX login_buckets_age ON auth.login_buckets (clears_at)",
        """
        CREATE TABLE auth.known_addresses (
            account bytea NOT NULL,
            address bytea NOT NULL,
            last_seen_at timestamptz NOT NULL,
            CONSTRAINT known_addresses_pkey PRIMARY KEY (account, address)
        )
        """,
        "CREATE INDEX known_addresses_age ON auth.known_addresses (last_seen_at)",
        "CREATE VIEW auth.people AS SELECT id, full_name, role FROM auth.users",
        "CREATE VIEW auth.revoked_sessions AS SELECT id FROM auth.sessions WHERE revoked_at IS NOT NULL",
        "GRANT SELECT ON auth.people, auth.revoked_sessions TO telemed_services, telemed_worker, telemed_auditor",
        "GRANT SELECT, INSERT, UPDATE ON auth.users, auth.sessions TO telemed_services",
        "GRANT SELECT, INSERT, UPDATE ON auth.login_buckets, auth.known_addresses TO telemed_services",
        # UPDATE as well: the jobs lock what they delete (FOR UPDATE SKIP LOCKED).
        "GRANT SELECT, UPDATE, DELETE ON auth.sessions, auth.login_buckets, auth.known_addresses TO telemed_worker",
    )


def downgrade() -> None:
    run("DROP SCHEMA auth CASCADE")
