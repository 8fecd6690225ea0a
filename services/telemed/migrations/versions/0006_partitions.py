"""Months: trail, outbox and the history of appointments as partitions. Safe before the code (pre).

No row is copied: the old tables become the partitions of everything before next month. Attaching reads them once to
prove that they hold nothing later, while their writers wait; what to do with a table that is too large for that is in
docs/decisions/0014-partitions.md.
"""

from alembic import op
from sqlalchemy import text

from telemed.migrations.sql import run

revision = "0006"
down_revision = "0005"

# A month of ids: UUIDs of version 7 begin with 48 bits of Unix milliseconds, and sort by them.
_UUID7_FLOOR = """
CREATE FUNCTION platform.uuid7_floor(at timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = '' AS $$
    SELECT (lpad(to_hex(floor(extract(epoch FROM at AT TIME ZONE 'UTC') * 1000)::bigint), 12, '0')
            || repeat('0', 20))::uuid
$$
"""

_UUID7_TIME = """
CREATE FUNCTION platform.uuid7_time(id uuid) RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = '' AS $$
    SELECT to_timestamp(('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint / 1000.0)
$$
"""

# What is partitioned, by which column, and whether its rows are never changed again.
_MONTHLY_TABLES = """
CREATE FUNCTION platform.monthly_tables(
    OUT name text, OUT parent_schema text, OUT parent_name text, OUT key text, OUT is_sealed boolean
) RETURNS SETOF record LANGUAGE sql IMMUTABLE SET search_path = '' AS $$
    VALUES ('audit', 'audit', 'records', 'id', true),
           ('outbox', 'platform', 'outbox', 'occurred_at', false),
           ('history', 'booking', 'appointment_history', 'recorded_at', true)
$$
"""

# Statement triggers fire for the table that a statement names, and for no other: so what comes through the parent
# passes, and whoever names a partition is refused, for INSERT too (it would come in past the parent's triggers).
_REFUSE_CHANGE = """
CREATE FUNCTION platform.refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    RAISE EXCEPTION '%.% is append-only, and its partitions are written through it', TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$
"""

# Runs as the owner of the tables, for the worker's job and for operators. LIKE and ATTACH and not PARTITION OF, which
# would lock out every reader and writer of the parent. False if the month is there already.
_CREATE_MONTH = """
CREATE FUNCTION platform.create_month(wanted text, month date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' SET lock_timeout = '2s' AS $$
DECLARE
    own record;
    parent text;
    fallback text;
    fresh text;
    fresh_name text;
    before_month text;
    starts timestamptz := month::timestamp AT TIME ZONE 'UTC';
    ends timestamptz := (month + interval '1 month') AT TIME ZONE 'UTC';
    low text := starts::text;
    high text := ends::text;
    strays bigint;
BEGIN
    SELECT * INTO own FROM platform.monthly_tables() AS t WHERE t.name = wanted;
    IF own IS NULL OR month IS NULL OR month <> date_trunc('month', month) THEN
        RAISE EXCEPTION 'no monthly table %, or % is no first of a month', wanted, month
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    parent := format('%I.%I', own.parent_schema, own.parent_name);
    fallback := format('%I.%I', own.parent_schema, own.parent_name || '_default');
    fresh_name := own.parent_name || to_char(month, '_YYYY_MM');
    fresh := format('%I.%I', own.parent_schema, fresh_name);

    -- Two workers at once: the second waits here, and then finds the month.
    PERFORM pg_advisory_xact_lock(7035202612);
    IF EXISTS (SELECT FROM pg_inherits WHERE inhparent = parent::regclass AND inhrelid = to_regclass(fresh)) THEN
        RETURN false;
    END IF;
    SELECT max(right(c.relname, 7)) INTO before_month
    FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
    WHERE i.inhparent = parent::regclass AND c.relname ~ '_before_[0-9]{4}_[0-9]{2}$';
    IF to_char(month, 'YYYY_MM') < before_month THEN
        RETURN false;
    END IF;
    -- A bound for whoever has broken into the worker: not a table for each month of eternity.
    IF month NOT BETWEEN now() - interval '10 years' AND now() + interval '3 years' THEN
        RAISE EXCEPTION '% is too far from now', month USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF own.key = 'id' THEN
        low := platform.uuid7_floor(starts)::text;
        high := platform.uuid7_floor(ends)::text;
    END IF;

    EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING ALL EXCLUDING INDEXES)', fresh, parent);
    EXECUTE format('SELECT count(*) FROM %s WHERE %I >= %L AND %I < %L', fallback, own.key, low, own.key, high)
        INTO strays;
    IF strays > 0 OR starts < now() + interval '1 day' THEN
        -- The month is being written to. A writer who has chosen the default partition and waits for it would be
        -- refused afterwards, as its row belongs elsewhere by then; so writers wait before they choose.
        EXECUTE format('LOCK TABLE ONLY %s IN SHARE ROW EXCLUSIVE MODE', parent);
        EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE', fallback);
        IF own.is_sealed THEN
            EXECUTE format('ALTER TABLE %s DISABLE TRIGGER partition_sealed', fallback);
        END IF;
        EXECUTE format(
            'WITH moved AS (DELETE FROM %s WHERE %I >= %L AND %I < %L RETURNING *) INSERT INTO %s SELECT * FROM moved',
            fallback, own.key, low, own.key, high, fresh);
        IF own.is_sealed THEN
            EXECUTE format('ALTER TABLE %s ENABLE TRIGGER partition_sealed', fallback);
        END IF;
    END IF;
    EXECUTE format('ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%L) TO (%L)', parent, fresh, low, high);
    IF own.is_sealed THEN
        EXECUTE format(
            'CREATE TRIGGER partition_sealed BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON %s '
            'FOR EACH STATEMENT EXECUTE FUNCTION platform.refuse_change()', fresh);
    END IF;
    RETURN true;
END $$
"""

# Rows of no month, by the month they belong to. Runs as the owner, because rights are on the parents alone.
_DEFAULT_ROWS = """
CREATE FUNCTION platform.default_rows(wanted text) RETURNS TABLE (month date, row_count bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    own record;
    at text;
BEGIN
    SELECT * INTO own FROM platform.monthly_tables() AS t WHERE t.name = wanted;
    at := CASE WHEN own.key = 'id' THEN 'platform.uuid7_time(id)' ELSE format('%I', own.key) END;
    RETURN QUERY EXECUTE format(
        'SELECT date_trunc(''month'', %s AT TIME ZONE ''UTC'')::date, count(*) FROM %I.%I GROUP BY 1 ORDER BY 1',
        at, own.parent_schema, own.parent_name || '_default');
END $$
"""

# One row for each version of an appointment; written with it, in its transaction, by whoever changes it. The server's
# clock and not the act's: claims on one slot queue on its row, so this order is theirs.
_NOTE_VERSION = """
CREATE FUNCTION booking.note_version() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO booking.appointment_history (appointment_id, version, slot_id, status, starts_at, recorded_at)
    VALUES (NEW.id, NEW.version, NEW.slot_id, NEW.status, NEW.starts_at, clock_timestamp());
    RETURN NULL;
END $$
"""

_SEAL = """
    CREATE TRIGGER {name} BEFORE {acts} ON {table} FOR EACH STATEMENT EXECUTE FUNCTION platform.refuse_change()
"""
_MONTHS_AHEAD = 3  # what the worker keeps by default


def upgrade() -> None:
    run(_UUID7_FLOOR, _UUID7_TIME, _MONTHLY_TABLES, _REFUSE_CHANGE, _CREATE_MONTH, _DEFAULT_ROWS, _NOTE_VERSION)
    run(
        "REVOKE ALL ON FUNCTION platform.create_month(text, date), platform.default_rows(text) FROM PUBLIC",
        "REVOKE ALL ON FUNCTION booking.note_version() FROM PUBLIC",
        "GRANT EXECUTE ON FUNCTION platform.create_month(text, date), platform.default_rows(text) TO telemed_worker",
    )
    suffix, ends = _before_next_month()
    _partition_trail(f"records{suffix}", ends)
    _partition_outbox(f"outbox{suffix}", ends)
    _make_history()
    run(
        f"""
        DO $$ BEGIN
            PERFORM platform.create_month(
                t.name, (date_trunc('month', now() AT TIME ZONE 'UTC') + n * interval '1 month')::date)
            FROM platform.monthly_tables() AS t, generate_series(0, {_MONTHS_AHEAD}) AS n;
        END $$
        """
    )


def _before_next_month() -> tuple[str, str]:
    """Give the suffix of the partitions that hold everything so far, and the instant at which they end."""
    query = """
        SELECT to_char(month, '"_before_"YYYY_MM') AS suffix, to_char(month, 'YYYY-MM-DD"T00:00:00Z"') AS ends
        FROM (SELECT date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month' AS month) AS next
    """
    row = op.get_bind().execute(text(query)).one()
    return row.suffix, row.ends


def _partition_trail(old: str, ends: str) -> None:
    indexes = ("time", "actor", "entity", "patient", "action", "not_allowed", "pkey")
    run(
        "DROP TRIGGER records_queued ON audit.records",
        "DROP TRIGGER records_immutable ON audit.records",
        *(f"ALTER INDEX audit.records_{name} RENAME TO {old}_{name}" for name in indexes),
        f"ALTER TABLE audit.records RENAME TO {old}",
        f"REVOKE ALL ON audit.{old} FROM telemed_services, telemed_auditor, telemed_worker",
        _SEAL.format(name="partition_sealed", acts="INSERT OR UPDATE OR DELETE OR TRUNCATE", table=f"audit.{old}"),
        # By id: the primary key stays the id, and whoever looks one up looks into one month.
        f"CREATE TABLE audit.records (LIKE audit.{old} INCLUDING CONSTRAINTS) PARTITION BY RANGE (id)",
        "ALTER TABLE audit.records ADD CONSTRAINT records_pkey PRIMARY KEY (id)",
        *_TRAIL_INDEXES,
        f"""
        DO $$ BEGIN
            EXECUTE format('ALTER TABLE audit.records ATTACH PARTITION audit.{old} FOR VALUES FROM (MINVALUE) TO (%L)',
                           platform.uuid7_floor('{ends}'));
        END $$
        """,
        "CREATE TABLE audit.records_default PARTITION OF audit.records DEFAULT",
        _SEAL.format(
            name="partition_sealed", acts="INSERT OR UPDATE OR DELETE OR TRUNCATE", table="audit.records_default"
        ),
        """
        CREATE TRIGGER records_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.records
        FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change()
        """,
        """
        CREATE TRIGGER records_queued AFTER INSERT ON audit.records
        REFERENCING NEW TABLE AS appended FOR EACH STATEMENT EXECUTE FUNCTION audit.queue_for_chain()
        """,
        "GRANT INSERT ON audit.records TO telemed_services, telemed_auditor, telemed_worker",
        "GRANT SELECT ON audit.records TO telemed_auditor, telemed_worker",
    )


# As 0001 and 0005 made them.
_TRAIL_INDEXES = (
    "CREATE INDEX records_time ON audit.records (recorded_at, id)",
    "CREATE INDEX records_actor ON audit.records (actor_id, recorded_at, id)",
    "CREATE INDEX records_entity ON audit.records (entity_id, recorded_at, id)",
    "CREATE INDEX records_patient ON audit.records (patient_id, recorded_at, id)",
    "CREATE INDEX records_action ON audit.records (action, recorded_at, id)",
    "CREATE INDEX records_not_allowed ON audit.records (recorded_at, id) WHERE outcome <> 'allowed'",
)
_OUTBOX_INDEXES = (
    "CREATE INDEX outbox_due ON platform.outbox (available_at) WHERE parked_at IS NULL AND delivered_at IS NULL",
    "CREATE INDEX outbox_parked ON platform.outbox (parked_at) WHERE parked_at IS NOT NULL",
)
_OUTBOX_GRANTS = (
    "GRANT INSERT ON platform.outbox TO telemed_services, telemed_worker",
    "GRANT SELECT, UPDATE, DELETE ON platform.outbox TO telemed_worker",
)


def _partition_outbox(old: str, ends: str) -> None:
    run(
        # outbox_delivered stays with the old table alone: workers of the release before still delete by it.
        *(f"ALTER INDEX platform.outbox_{name} RENAME TO {old}_{name}" for name in ("due", "parked", "delivered")),
        f"ALTER TABLE platform.outbox RENAME TO {old}",
        f"REVOKE ALL ON platform.{old} FROM telemed_services, telemed_auditor, telemed_worker",
        # A small index: delivered events were forgotten after a week until now.
        f"ALTER TABLE platform.{old} DROP CONSTRAINT outbox_pkey",
        f"ALTER TABLE platform.{old} ADD CONSTRAINT {old}_pkey PRIMARY KEY (id, occurred_at)",
        f"""
        CREATE TABLE platform.outbox (LIKE platform.{old} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)
        PARTITION BY RANGE (occurred_at)
        """,
        "ALTER TABLE platform.outbox ADD CONSTRAINT outbox_pkey PRIMARY KEY (id, occurred_at)",
        *_OUTBOX_INDEXES,
        f"ALTER TABLE platform.outbox ATTACH PARTITION platform.{old} FOR VALUES FROM (MINVALUE) TO ('{ends}')",
        "CREATE TABLE platform.outbox_default PARTITION OF platform.outbox DEFAULT",
        *_OUTBOX_GRANTS,
    )


def _make_history() -> None:
    run(
        """
        CREATE TABLE booking.appointment_history (
            appointment_id uuid NOT NULL,
            version integer NOT NULL,
            slot_id uuid NOT NULL,
            status text NOT NULL,
            starts_at timestamptz NOT NULL,
            recorded_at timestamptz NOT NULL,
            CONSTRAINT appointment_history_pkey PRIMARY KEY (appointment_id, version, recorded_at)
        ) PARTITION BY RANGE (recorded_at)
        """,
        # Who claimed a slot, in what order.
        "CREATE INDEX appointment_history_slot ON booking.appointment_history (slot_id, recorded_at)",
        "CREATE TABLE booking.appointment_history_default PARTITION OF booking.appointment_history DEFAULT",
        _SEAL.format(
            name="partition_sealed",
            acts="INSERT OR UPDATE OR DELETE OR TRUNCATE",
            table="booking.appointment_history_default",
        ),
        _SEAL.format(
            name="appointment_history_immutable",
            acts="UPDATE OR DELETE OR TRUNCATE",
            table="booking.appointment_history",
        ),
        """
        CREATE TRIGGER appointments_noted AFTER INSERT ON booking.appointments
        FOR EACH ROW EXECUTE FUNCTION booking.note_version()
        """,
        """
        CREATE TRIGGER appointments_change_noted AFTER UPDATE ON booking.appointments
        FOR EACH ROW WHEN (OLD.version IS DISTINCT FROM NEW.version OR OLD.status IS DISTINCT FROM NEW.status
                           OR OLD.slot_id IS DISTINCT FROM NEW.slot_id)
        EXECUTE FUNCTION booking.note_version()
        """,
    )


def downgrade() -> None:
    """Put the rows of every month back into one table: the only step here that copies, and it may take long."""
    run(
        "DROP TRIGGER appointments_noted ON booking.appointments",
        "DROP TRIGGER appointments_change_noted ON booking.appointments",
        "DROP FUNCTION booking.note_version()",
        "DROP TABLE booking.appointment_history",
        "DROP TRIGGER records_queued ON audit.records",
        "ALTER TABLE audit.records RENAME TO records_by_month",
        "ALTER TABLE platform.outbox RENAME TO outbox_by_month",
        "CREATE TABLE audit.records (LIKE audit.records_by_month INCLUDING CONSTRAINTS)",
        "CREATE TABLE platform.outbox (LIKE platform.outbox_by_month INCLUDING DEFAULTS INCLUDING CONSTRAINTS)",
        "INSERT INTO audit.records SELECT * FROM audit.records_by_month",
        "INSERT INTO platform.outbox SELECT * FROM platform.outbox_by_month",
        "DROP TABLE audit.records_by_month, platform.outbox_by_month",
        "DROP FUNCTION platform.create_month(text, date), platform.default_rows(text), platform.monthly_tables()",
        "DROP FUNCTION platform.uuid7_floor(timestamptz), platform.uuid7_time(uuid), platform.refuse_change()",
        "ALTER TABLE audit.records ADD CONSTRAINT records_pkey PRIMARY KEY (id)",
        "ALTER TABLE platform.outbox ADD CONSTRAINT outbox_pkey PRIMARY KEY (id)",
        *_TRAIL_INDEXES,
        *_OUTBOX_INDEXES,
        "CREATE INDEX outbox_delivered ON platform.outbox (delivered_at) WHERE delivered_at IS NOT NULL",
        """
        CREATE TRIGGER records_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.records
        FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change()
        """,
        """
        CREATE TRIGGER records_queued AFTER INSERT ON audit.records
        REFERENCING NEW TABLE AS appended FOR EACH STATEMENT EXECUTE FUNCTION audit.queue_for_chain()
        """,
        "GRANT INSERT ON audit.records TO telemed_services, telemed_auditor, telemed_worker",
        "GRANT SELECT ON audit.records TO telemed_auditor, telemed_worker",
        *_OUTBOX_GRANTS,
    )
