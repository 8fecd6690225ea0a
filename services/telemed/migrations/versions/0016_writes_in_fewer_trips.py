"""Who comes with a write, and what a transaction leaves behind, as one call each. Safe before the code (pre).

As the functions of 0010, these know no rule: they look, claim and write what they are given. A later version with other
parameters gets another name and stands beside these until no process calls them any more.
"""

from telemed.migrations.sql import run

revision = "0016"
down_revision = "0015"

_ENTRANCE = """
CREATE TYPE platform.entrance AS (
    caller_role text,
    is_claimed boolean,
    kept_hash bytea,
    kept_status integer,
    kept_headers text,
    kept_body bytea
)
"""

# Volatile, so that each statement in it has a snapshot of its own: a reply whose transaction has ended before the claim
# is seen. In one plain statement the snapshot would be older than the claim, and the effect could happen twice.
_ENTER = """
CREATE FUNCTION platform.enter(
    by_user uuid, by_session uuid, admitted text[],
    key_lock bigint, key_caller text, key_method text, key_route text, key_value text
) RETURNS platform.entrance LANGUAGE plpgsql VOLATILE SET search_path = '' AS $$
DECLARE
    found platform.entrance;
BEGIN
    IF by_user IS NOT NULL THEN
        SELECT p.role INTO found.caller_role
        FROM auth.people AS p
        WHERE p.id = by_user AND NOT EXISTS (SELECT FROM auth.revoked_sessions AS r WHERE r.id = by_session);
        -- Whoever is not let in claims nothing: what they sent must be in nobody's way.
        IF admitted IS NOT NULL AND (found.caller_role IS NULL OR found.caller_role <> ALL (admitted)) THEN
            RETURN found;
        END IF;
    END IF;
    IF key_lock IS NOT NULL THEN
        found.is_claimed := pg_try_advisory_xact_lock(key_lock);
    END IF;
    IF found.is_claimed THEN
        SELECT k.request_hash, k.status, k.headers::text, k.body
        INTO found.kept_hash, found.kept_status, found.kept_headers, found.kept_body
        FROM platform.idempotency_keys AS k
        WHERE k.caller = key_caller AND k.method = key_method AND k.route = key_route AND k.key = key_value;
    END IF;
    RETURN found;
END $$
"""

# Touches only the tables that it has something for: not every role may write to each of them.
_WRITE_ENDING = """
CREATE FUNCTION platform.write_ending(
    record_ids uuid[], record_times timestamptz[], actor_ids uuid[], actor_roles text[], actions text[],
    outcomes text[], entity_types text[], entity_ids uuid[], patient_ids uuid[], request_ids text[],
    trace_ids text[], client_addresses text[], record_details text[],
    event_ids uuid[], event_types text[], event_payloads text[], event_traces text[], event_times timestamptz[],
    key_callers text[], key_methods text[], key_routes text[], key_values text[], request_hashes bytea[],
    reply_statuses integer[], reply_headers text[], reply_bodies bytea[], reply_times timestamptz[]
) RETURNS void LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    IF cardinality(record_ids) > 0 THEN
        INSERT INTO audit.records
            (id, recorded_at, actor_id, actor_role, action, outcome, entity_type, entity_id, patient_id,
             request_id, trace_id, client_address, details)
        SELECT r.id, r.recorded_at, r.actor_id, r.actor_role, r.action, r.outcome, r.entity_type, r.entity_id,
               r.patient_id, r.request_id, r.trace_id, r.client_address, r.details::jsonb
        FROM unnest(record_ids, record_times, actor_ids, actor_roles, actions, outcomes, entity_types, entity_ids,
                    patient_ids, request_ids, trace_ids, client_addresses, record_details)
            AS r (id, recorded_at, actor_id, actor_role, action, outcome, entity_type, entity_id, patient_id,
                  request_id, trace_id, client_address, details);
    END IF;
    IF cardinality(event_ids) > 0 THEN
        INSERT INTO platform.outbox (id, type, payload, traceparent, occurred_at, available_at, attempts)
        SELECT e.id, e.type, e.payload::jsonb, e.traceparent, e.occurred_at, e.occurred_at, 0
        FROM unnest(event_ids, event_types, event_payloads, event_traces, event_times)
            AS e (id, type, payload, traceparent, occurred_at);
    END IF;
    IF cardinality(key_values) > 0 THEN
        INSERT INTO platform.idempotency_keys
            (caller, method, route, key, request_hash, status, headers, body, created_at)
        SELECT k.caller, k.method, k.route, k.key, k.request_hash, k.status, k.headers::jsonb, k.body, k.created_at
        FROM unnest(key_callers, key_methods, key_routes, key_values, request_hashes, reply_statuses, reply_headers,
                    reply_bodies, reply_times)
            AS k (caller, method, route, key, request_hash, status, headers, body, created_at);
    END IF;
END $$
"""


def upgrade() -> None:
    run(
        _ENTRANCE,
        _ENTER,
        _WRITE_ENDING,
        # They act with the rights of who calls them, so these grants open nothing; without them they are everybody's.
        "REVOKE ALL ON FUNCTION platform.enter, platform.write_ending FROM PUBLIC",
        "GRANT EXECUTE ON FUNCTION platform.enter TO telemed_services, telemed_auditor",
        "GRANT EXECUTE ON FUNCTION platform.write_ending TO telemed_services, telemed_auditor, telemed_worker",
    )


def downgrade() -> None:
    run(
        "DROP FUNCTION platform.write_ending",
        "DROP FUNCTION platform.enter",
        "DROP TYPE platform.entrance",
    )
