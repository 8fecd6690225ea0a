"""The hash chain over the audit trail. Safe before the code (pre)."""

from telemed.migrations.sql import run

revision = "0005"
down_revision = "0004"

# Runs as the owner, so that the roles that may only insert a record need no right on the queue. The search path is
# empty, so that nobody can slip in a table of the same name.
_QUEUE = """
CREATE FUNCTION audit.queue_for_chain() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO audit.unchained (record_id) SELECT id FROM appended;
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    run(
        # What the chain has still to take in. A queue and not "ids above the last": ids are made before the commit,
        # so a record can appear below one that was chained long ago.
        "CREATE TABLE audit.unchained (record_id uuid CONSTRAINT unchained_pkey PRIMARY KEY)",
        _QUEUE,
        "REVOKE ALL ON FUNCTION audit.queue_for_chain() FROM PUBLIC",
        """
        CREATE TRIGGER records_queued AFTER INSERT ON audit.records
        REFERENCING NEW TABLE AS appended FOR EACH STATEMENT EXECUTE FUNCTION audit.queue_for_chain()
        """,
        "INSERT INTO audit.unchained (record_id) SELECT id FROM audit.records",
        # No foreign key to the records: a chain entry must survive the removal that it is there to prove.
        """
        CREATE TABLE audit.chain (
            seq bigint CONSTRAINT chain_pkey PRIMARY KEY CONSTRAINT chain_seq CHECK (seq > 0),
            record_id uuid NOT NULL CONSTRAINT chain_record UNIQUE,
            record_hash bytea NOT NULL CONSTRAINT chain_record_hash CHECK (octet_length(record_hash) = 32),
            chain_hash bytea NOT NULL CONSTRAINT chain_chain_hash CHECK (octet_length(chain_hash) = 32),
            chained_at timestamptz NOT NULL
        )
        """,
        # One row; whoever locks it is the chain's only writer.
        """
        CREATE TABLE audit.chain_head (
            is_head boolean DEFAULT true
                CONSTRAINT chain_head_pkey PRIMARY KEY CONSTRAINT chain_head_one CHECK (is_head),
            seq bigint NOT NULL,
            chain_hash bytea NOT NULL
        )
        """,
        "INSERT INTO audit.chain_head (seq, chain_hash) VALUES (0, decode(repeat('00', 32), 'hex'))",
        """
        CREATE TABLE audit.checkpoints (
            to_seq bigint CONSTRAINT checkpoints_pkey PRIMARY KEY,
            from_seq bigint NOT NULL CONSTRAINT checkpoints_from UNIQUE,
            previous_chain_hash bytea NOT NULL,
            chain_hash bytea NOT NULL,
            made_at timestamptz NOT NULL,
            CONSTRAINT checkpoints_range CHECK (0 < from_seq AND from_seq <= to_seq)
        )
        """,
        """
        CREATE TRIGGER chain_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.chain
        FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change()
        """,
        """
        CREATE TRIGGER checkpoints_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.checkpoints
        FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change()
        """,
        # What an auditor asks for without naming a person: one kind of act, and what was not allowed.
        "CREATE INDEX records_action ON audit.records (action, recorded_at, id)",
        "CREATE INDEX records_not_allowed ON audit.records (recorded_at, id) WHERE outcome <> 'allowed'",
        "GRANT SELECT, DELETE ON audit.unchained TO telemed_worker",
        "GRANT SELECT, INSERT ON audit.chain, audit.checkpoints TO telemed_worker",
        "GRANT SELECT, UPDATE ON audit.chain_head TO telemed_worker",
        "GRANT SELECT ON audit.unchained, audit.chain, audit.chain_head, audit.checkpoints TO telemed_auditor",
    )


def downgrade() -> None:
    run(
        "DROP TRIGGER records_queued ON audit.records",
        "DROP FUNCTION audit.queue_for_chain()",
        "DROP TABLE audit.unchained, audit.chain, audit.chain_head, audit.checkpoints",
        "DROP INDEX audit.records_action, audit.records_not_allowed",
    )
