"""Roles, outbox, idempotency keys and the audit trail. Safe before the code (pre)."""

from telemed.migrations.sql import run

revision = "0001"
down_revision = None

# Group roles without a login; deployments make login roles as their members. They belong to the cluster, not to the
# database, so they may exist already, and two databases may be migrated at once.
_ROLES = """
DO $$
DECLARE wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['telemed_services', 'telemed_auditor', 'telemed_worker'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
            END;
        END IF;
    END LOOP;
END $$
"""

# The last resort when a client or a bug leaves a transaction open: row locks must not be held for ever.
_TIMEOUTS = """
DO $$
BEGIN
    EXECUTE format('ALTER DATABASE %I SET idle_in_transaction_session_timeout = %L', current_database(), '15s');
    EXECUTE format('ALTER DATABASE %I SET statement_timeout = %L', current_database(), '10s');
END $$
"""

# Even the owner changes the trail only by removing this first, which the hash chain then shows.
_IMMUTABLE = """
CREATE FUNCTION audit.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit trail is append-only' USING ERRCODE = 'insufficient_privilege';
END $$
"""


def upgrade() -> None:
    run(
        _ROLES,
        _TIMEOUTS,
        "CREATE EXTENSION IF NOT EXISTS btree_gist",
        "CREATE SCHEMA platform",
        "CREATE SCHEMA audit",
        "GRANT USAGE ON SCHEMA platform, audit TO telemed_services, telemed_worker, telemed_auditor",
        """
        CREATE TABLE platform.outbox (
            id uuid CONSTRAINT outbox_pkey PRIMARY KEY,
            type text NOT NULL,
            payload jsonb NOT NULL,
            traceparent text NOT NULL,
            occurred_at timestamptz NOT NULL,
            available_at timestamptz NOT NULL,
            attempts integer NOT NULL DEFAULT 0,
            last_error text,
            parked_at timestamptz,
            delivered_at timestamptz
        )
        """,
        "CREATE INDEX outbox_due ON platform.outbox (available_at) WHERE parked_at IS NULL AND delivered_at IS NULL",
        "CREATE INDEX outbox_parked ON platform.outbox (parked_at) WHERE parked_at IS NOT NULL",
        "CREATE INDEX outbox_delivered ON platform.outbox (delivered_at) WHERE delivered_at IS NOT NULL",
        """
        CREATE TABLE platform.handled_events (
            subscriber text NOT NULL,
            event_id uuid NOT NULL,
            handled_at timestamptz NOT NULL,
            CONSTRAINT handled_events_pkey PRIMARY KEY (subscriber, event_id)
        )
        """,
        "CREATE INDEX handled_events_age ON platform.handled_events (handled_at)",
        """
        CREATE TABLE platform.idempotency_keys (
            caller text NOT NULL,
            method text NOT NULL,
            route text NOT NULL,
            key text NOT NULL,
            request_hash bytea NOT NULL,
            status integer NOT NULL,
            headers jsonb NOT NULL,
            body bytea NOT NULL,
            created_at timestamptz NOT NULL,
            CONSTRAINT idempotency_keys_pkey PRIMARY KEY (caller, method, route, key)
        )
        """,
        "CREATE INDEX idempotency_keys_age ON platform.idempotency_keys (created_at)",
        "GRANT INSERT ON platform.outbox TO telemed_services, telemed_worker",
        "GRANT SELECT, UPDATE, DELETE ON platform.outbox TO telemed_worker",
        "GRANT SELECT, INSERT, DELETE ON platform.handled_events TO telemed_worker",
        "GRANT SELECT, INSERT ON platform.idempotency_keys TO telemed_services",
        "GRANT SELECT, UPDATE, DELETE ON platform.idempotency_keys TO telemed_worker",
        """
        CREATE TABLE audit.records (
            id uuid CONSTRAINT records_pkey PRIMARY KEY,
            recorded_at timestamptz NOT NULL,
            actor_id uuid,
            actor_role text,
            action text NOT NULL,
            outcome text NOT NULL CONSTRAINT records_outcome CHECK (outcome IN ('allowed', 'denied', 'failed')),
            entity_type text NOT NULL,
            entity_id uuid,
            patient_id uuid,
            request_id text NOT NULL,
            trace_id text NOT NULL,
            client_address text NOT NULL,
            details jsonb NOT NULL
        )
        """,
        "CREATE INDEX records_time ON audit.records (recorded_at, id)",
        "CREATE INDEX records_actor ON audit.records (actor_id, recorded_at, id)",
        "CREATE INDEX records_entity ON audit.records (entity_id, recorded_at, id)",
        "CREATE INDEX records_patient ON audit.records (patient_id, recorded_at, id)",
        _IMMUTABLE,
        """
        CREATE TRIGGER records_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.records
        FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change()
        """,
        "GRANT INSERT ON audit.records TO telemed_services, telemed_auditor, telemed_worker",
        "GRANT SELECT ON audit.records TO telemed_auditor, telemed_worker",
    )


def downgrade() -> None:
    run("DROP SCHEMA audit CASCADE", "DROP SCHEMA platform CASCADE")
