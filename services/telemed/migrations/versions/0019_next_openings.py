"""Search by time as a call, so that the server keeps its plan. Safe before the code (pre).

Most searches go through the slots as they begin, of all doctors, of a specialization or of one doctor. To plan that
took the server longer than to find a page, each time, as a pooler in transaction mode bears no prepared statement; what
a function runs, each of its sessions plans once. The plan is that of no values in particular: whatever they are, it
goes through one index from one place on, and looks each slot's doctor up.

Who calls with other parameters one day calls another name, beside these until nobody calls them any more.
"""

from telemed.migrations.sql import run

revision = "0019"
down_revision = "0018"

# What `booking/slots/cards.py` reads: two lines for each slot. A plain expression to whoever plans a call of it.
_LINES = r"""
CREATE FUNCTION booking.opening_lines(
    id uuid, version integer, starts_at timestamptz, ends_at timestamptz, card text
) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
RETURN format(
    E'%1$s/%2$s\n{"id":"%1$s","starts_at":%3$s\t,"ends_at":%4$s\t,"doctor":%5$s}',
    id, version, to_json(starts_at AT TIME ZONE 'UTC'), to_json(ends_at AT TIME ZONE 'UTC'), card
)
"""

# For each question, all of one snapshot: the openings that come after one, or after an instant, and begin before one,
# so many at most; of doctors to whom applies what is not null. A list in which all are null need not be sent.
# The row comparison is the only lower bound: of several, PostgreSQL begins a scan of the index at the first, and
# filters. The inner LIMIT keeps the planner from beginning with the doctors; there is one of each id anyway. Who is a
# doctor is auth's to say, and holds at once.
_FOUND = """
    SELECT question.place, found.lines
    FROM unnest($1, $2, $3, $4, $5, $6, $7, $8) WITH ORDINALITY
        AS question (after_at, after_id, before, at_most, doctor_id, specialization, language, max_fee_minor, place)
    CROSS JOIN LATERAL (
        SELECT string_agg(
            booking.opening_lines(f.id, f.version, f.starts_at, f.ends_at, f.card),
            chr(10) ORDER BY f.starts_at, f.id
        ) AS lines
        FROM (
            SELECT s.id, s.version, s.starts_at, s.ends_at, d.card
            FROM booking.slots AS s
            CROSS JOIN LATERAL (
                SELECT d.card
                FROM booking.doctors AS d
                WHERE d.id = s.doctor_id AND d.is_listed
                    AND (question.specialization IS NULL OR lower(d.specialization) = question.specialization)
                    AND (question.language IS NULL OR question.language = ANY (lower(d.languages::text)::text[]))
                    AND (question.max_fee_minor IS NULL OR d.fee_minor <= question.max_fee_minor)
                    AND (SELECT true FROM auth.people AS p WHERE p.id = d.id AND p.role = 'doctor')
                LIMIT 1
            ) AS d
            WHERE s.status = 'open'{of_slots}
                AND (s.starts_at, s.id) > (question.after_at, coalesce(question.after_id, {last_id}))
                AND s.starts_at < coalesce(question.before, 'infinity'::timestamptz)
            ORDER BY s.starts_at, s.id
            LIMIT question.at_most
        ) AS f
    ) AS found
"""
# By the index of slots that each goes through, slots_search_by_…, and what it asks of them for that.
_KINDS = {
    "time": "",
    "specialization": " AND s.specialization_key = question.specialization",
    "doctor": " AND s.doctor_id = question.doctor_id",
}
_LAST_ID = "'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid"
_PARAMETERS = "timestamptz[], uuid[], timestamptz[], bigint[], uuid[], text[], text[], bigint[]"
# One plan for whatever is asked. A session may make it while there is hardly a slot, and keep it when there are many:
# so it must be the right one then, too. For no values, a page looks like a tenth of all slots, and worth compiling.
_SETTINGS = "SET search_path = '' SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off"


def _function(kind: str) -> str:
    return f"""
    CREATE FUNCTION booking.next_openings_by_{kind}({_PARAMETERS})
    RETURNS TABLE (place bigint, lines text) LANGUAGE plpgsql STABLE {_SETTINGS} AS $$
    BEGIN
        RETURN QUERY {_FOUND.format(of_slots=_KINDS[kind], last_id=_LAST_ID)};
    END $$
    """


def upgrade() -> None:
    run(_LINES, *map(_function, _KINDS))


def downgrade() -> None:
    run(
        *(f"DROP FUNCTION booking.next_openings_by_{kind}({_PARAMETERS})" for kind in _KINDS),
        "DROP FUNCTION booking.opening_lines(uuid, integer, timestamptz, timestamptz, text)",
    )
