"""What a booking looks at, and the booking itself, as one call each. Safe before the code (pre).

The functions know no rule of booking: they look, they lock, and they write what they are given if everything still is
as it was looked at. A later version with other parameters gets another name and stands beside these until no process
calls them any more.
"""

from telemed.migrations.sql import run

revision = "0010"
down_revision = "0009"

# What there was at one moment, as the look and the booking both answer.
_SIGHT = """
CREATE TYPE booking.sight AS (
    caller_role text,
    doctor_id uuid,
    starts_at timestamptz,
    ends_at timestamptz,
    status text,
    version integer,
    specialization text,
    doctor_role text,
    request_hash bytea,
    reply_status integer,
    reply_headers text,
    reply_body bytea,
    is_claimed boolean,
    is_booked boolean,
    waited_seconds double precision
)
"""

# One statement, so one snapshot: who sees the slot taken by a request sees that request's reply under its key, too.
# A function, because the server then keeps the plan: planning five joins costs more than running them, and a pooler in
# transaction mode bears no prepared statement.
_LOOK = """
CREATE FUNCTION booking.look_at_slot(
    wanted_slot uuid, by_user uuid, by_session uuid, key_caller text, key_method text, key_route text, key_value text
) RETURNS booking.sight LANGUAGE plpgsql STABLE SET search_path = '' AS $$
DECLARE
    seen booking.sight;
BEGIN
    SELECT caller.role, s.doctor_id, s.starts_at, s.ends_at, s.status, s.version, d.specialization, doctor.role,
           k.request_hash, k.status, k.headers::text, k.body, NULL, false, NULL
    INTO seen
    FROM (VALUES (wanted_slot)) AS wanted (slot_id)
    LEFT JOIN booking.slots AS s ON s.id = wanted.slot_id
    LEFT JOIN booking.doctors AS d ON d.id = s.doctor_id
    LEFT JOIN auth.people AS doctor ON doctor.id = s.doctor_id
    LEFT JOIN auth.people AS caller
        ON caller.id = by_user AND NOT EXISTS (SELECT FROM auth.revoked_sessions AS r WHERE r.id = by_session)
    LEFT JOIN platform.idempotency_keys AS k
        ON k.caller = key_caller AND k.method = key_method AND k.route = key_route AND k.key = key_value;
    RETURN seen;
END $$
"""

# For all who look at the same time: one row for each, in their order, and all of one snapshot.
_LOOKS = """
CREATE FUNCTION booking.look_at_slots(
    wanted_slots uuid[], by_users uuid[], by_sessions uuid[],
    key_callers text[], key_methods text[], key_routes text[], key_values text[]
) RETURNS SETOF booking.sight LANGUAGE plpgsql STABLE SET search_path = '' AS $$
BEGIN
    FOR n IN 1 .. cardinality(wanted_slots) LOOP
        RETURN NEXT booking.look_at_slot(
            wanted_slots[n], by_users[n], by_sessions[n], key_callers[n], key_methods[n], key_routes[n], key_values[n]
        );
    END LOOP;
END $$
"""

# Locks in the order of booking/appointments/operations.py: key, patient, slot. The key is tried and not waited for.
# The row's time-out comes after the patient's lock, whose holder may be waiting for a row itself.
_BOOK = """
CREATE FUNCTION booking.book_slot(
    wanted_slot uuid, by_user uuid, by_session uuid, key_caller text, key_method text, key_route text, key_value text,
    seen_role text, seen_doctor_role text, seen_status text, seen_version integer,
    key_lock bigint, patient_lock bigint,
    acted_at timestamptz, appointment_id uuid, visit_reason text,
    record_id uuid, record_action text, request_id text, trace_id text, client_address text,
    event_id uuid, event_type text, event_payload text, traceparent text,
    request_hash bytea, reply_status integer, reply_headers text, reply_body bytea
) RETURNS booking.sight LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    seen booking.sight;
    asked_at timestamptz;
    waited double precision;
BEGIN
    IF key_lock IS NOT NULL AND NOT pg_try_advisory_xact_lock(key_lock) THEN
        seen.is_claimed := false;
        RETURN seen;
    END IF;
    PERFORM pg_advisory_xact_lock(patient_lock);
    PERFORM set_config('lock_timeout', '2s', true);
    asked_at := clock_timestamp();
    PERFORM FROM booking.slots AS s WHERE s.id = wanted_slot FOR UPDATE;
    waited := extract(epoch FROM clock_timestamp() - asked_at);

    -- Looked at again: what was seen without the locks may be over.
    SELECT * INTO seen
    FROM booking.look_at_slot(wanted_slot, by_user, by_session, key_caller, key_method, key_route, key_value);
    seen.is_claimed := true;
    seen.waited_seconds := waited;
    IF seen.caller_role IS DISTINCT FROM seen_role OR seen.reply_status IS NOT NULL
        OR seen.doctor_role IS DISTINCT FROM seen_doctor_role
        OR seen.status IS DISTINCT FROM seen_status OR seen.version IS DISTINCT FROM seen_version THEN
        RETURN seen;
    END IF;

    UPDATE booking.slots SET status = 'booked', version = version + 1 WHERE id = wanted_slot;
    -- The second wall speaks here: appointments_doctor_no_overlap and appointments_patient_no_overlap.
    INSERT INTO booking.appointments
        (id, slot_id, doctor_id, patient_id, status, starts_at, ends_at, reason, created_at, version)
    VALUES (appointment_id, wanted_slot, seen.doctor_id, by_user, 'booked', seen.starts_at, seen.ends_at,
            visit_reason, acted_at, 1);
    INSERT INTO audit.records
        (id, recorded_at, actor_id, actor_role, action, outcome, entity_type, entity_id, patient_id,
         request_id, trace_id, client_address, details)
    VALUES (record_id, acted_at, by_user, seen_role, record_action, 'allowed', 'appointment', appointment_id, by_user,
            request_id, trace_id, client_address, '{}');
    INSERT INTO platform.outbox (id, type, payload, traceparent, occurred_at, available_at, attempts)
    VALUES (event_id, event_type, event_payload::jsonb, traceparent, acted_at, acted_at, 0);
    IF key_value IS NOT NULL THEN
        INSERT INTO platform.idempotency_keys
            (caller, method, route, key, request_hash, status, headers, body, created_at)
        VALUES (key_caller, key_method, key_route, key_value, request_hash, reply_status, reply_headers::jsonb,
                reply_body, acted_at);
    END IF;
    seen.is_booked := true;
    RETURN seen;
END $$
"""

# One row for each, in their order. The first reply under a key stays; whoever comes later is given it, and theirs is
# not kept.
_KEEP_REPLIES = """
CREATE FUNCTION platform.keep_replies(
    key_locks bigint[], key_callers text[], key_methods text[], key_routes text[], key_values text[],
    request_hashes bytea[], reply_statuses integer[], reply_headers text[], reply_bodies bytea[],
    kept_at timestamptz[]
) RETURNS TABLE (
    is_claimed boolean, kept_hash bytea, kept_status integer, kept_headers text, kept_body bytea
) LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    FOR n IN 1 .. cardinality(key_locks) LOOP
        is_claimed := pg_try_advisory_xact_lock(key_locks[n]);
        kept_hash := NULL;
        kept_status := NULL;
        kept_headers := NULL;
        kept_body := NULL;
        IF is_claimed THEN
            SELECT k.request_hash, k.status, k.headers::text, k.body
            INTO kept_hash, kept_status, kept_headers, kept_body
            FROM platform.idempotency_keys AS k
            WHERE k.caller = key_callers[n] AND k.method = key_methods[n] AND k.route = key_routes[n]
                AND k.key = key_values[n];
            IF NOT FOUND THEN
                INSERT INTO platform.idempotency_keys
                    (caller, method, route, key, request_hash, status, headers, body, created_at)
                VALUES (key_callers[n], key_methods[n], key_routes[n], key_values[n], request_hashes[n],
                        reply_statuses[n], reply_headers[n]::jsonb, reply_bodies[n], kept_at[n]);
            END IF;
        END IF;
        RETURN NEXT;
    END LOOP;
END $$
"""


_ALL = "booking.look_at_slot, booking.look_at_slots, booking.book_slot, platform.keep_replies"


def upgrade() -> None:
    run(
        _SIGHT,
        _LOOK,
        _LOOKS,
        _BOOK,
        _KEEP_REPLIES,
        # They act with the rights of who calls them, so these grants open nothing; without them they are everybody's.
        f"REVOKE ALL ON FUNCTION {_ALL} FROM PUBLIC",
        f"GRANT EXECUTE ON FUNCTION {_ALL} TO telemed_services",
    )


def downgrade() -> None:
    run(
        "DROP FUNCTION platform.keep_replies",
        "DROP FUNCTION booking.book_slot",
        "DROP FUNCTION booking.look_at_slots",
        "DROP FUNCTION booking.look_at_slot",
        "DROP TYPE booking.sight",
    )
