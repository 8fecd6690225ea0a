"""Reading statements from the server's log, and writing them as a script."""

import pytest

from bench.results import BenchProblem
from bench.statements import Statement, _expression, _readable, opened, parsed, quoted

LOG = """\
2026-11-27 04:00:00.100 UTC [71] LOG:  statement: BEGIN;
2026-11-27 04:00:00.101 UTC [71] LOG:  execute __asyncpg_stmt_1__: SELECT a,
\t  b FROM t WHERE c = $1 AND d = $2 AND e = $3
2026-11-27 04:00:00.101 UTC [71] DETAIL:  Parameters: $1 = 'it''s, $9 = ''x''', $2 = NULL, $3 = '2026-11-29 04:00:00+00'
2026-11-27 04:00:00.102 UTC [72] LOG:  execute <unnamed>: SELECT 1
2026-11-27 04:00:00.102 UTC [70] LOG:  checkpoint starting: time
2026-11-27 04:00:00.103 UTC [71] LOG:  statement: COMMIT;
"""


def test_the_log_is_read_as_it_was_asked() -> None:
    """Several lines, quotes within values, NULL, and what is no statement."""
    assert parsed(LOG) == [
        Statement(71, "BEGIN", ()),
        Statement(
            71,
            "SELECT a,\n  b FROM t WHERE c = $1 AND d = $2 AND e = $3",
            ("it's, $9 = 'x'", None, "2026-11-29 04:00:00+00"),
        ),
        Statement(72, "SELECT 1", ()),
        Statement(71, "COMMIT", ()),
    ]


def test_a_value_is_written_by_what_is_known_of_it() -> None:
    """Known values follow from the number, other ids are fresh, other numbers differ, the rest stays."""
    one, other = "01900004-0000-7000-8000-000000000003", "01900004-0000-7000-8000-000000000004"

    assert _expression(5, "uuid", one, other, {one: "bench.id(4, :n)"}) == "(bench.id(4, :n))::uuid"
    assert _expression(5, "uuid", one, other, {}) == "bench.id(261, :n)::uuid"
    assert _expression(5, "uuid", one, one, {}) == f"E'{one}'::uuid"
    assert _expression(5, "int8", "12", "13", {}) == "(:n::int8 + 50000000)::int8"
    assert _expression(5, "int4", "12", "12", {}) == "E'12'::int4"
    assert _expression(5, "text", None, "x", {}) == "NULL::text"


def test_a_literal_holds_nothing_that_pgbench_takes_for_a_variable() -> None:
    """JSON is full of colons."""
    assert quoted('{"a":null, "b\\n": "it\'s"}') == 'E\'{"a"\\x3Anull, "b\\\\n"\\x3A "it\'\'s"}\''


def test_a_statement_keeps_what_its_own_literals_say() -> None:
    """Those with a colon are written otherwise, and mean the same; what is no literal stays as it is."""
    statement = "SELECT 'it''s \"at\":\n', 'none', now()::text"

    assert _readable(statement) == "SELECT E'it''s \"at\"\\x3A\n', 'none', now()::text"


def test_a_call_becomes_the_query_that_it_returns() -> None:
    """With the call's values and their types in the places where the query has them."""
    sources = {"some.function": "\n BEGIN\n  RETURN QUERY SELECT a, b FROM t($2, $1) ;\n END "}
    call = Statement(1, "SELECT a, b FROM some.function($1::uuid[], $2::bigint)", ("x", "2"))
    other = Statement(1, "SELECT a FROM some.relation WHERE b = $1", ("x",))

    assert opened(call, sources) == Statement(1, "SELECT a, b FROM t($2::bigint, $1::uuid[]) ", ("x", "2"))
    assert opened(other, sources) == other


@pytest.mark.parametrize(
    ("source", "values"),
    [("BEGIN PERFORM 1; RETURN QUERY SELECT $1; END", "$1::uuid"), ("BEGIN RETURN QUERY SELECT $1; END", "$2::uuid")],
)
def test_a_call_that_is_more_than_a_query_is_no_floor(source: str, values: str) -> None:
    """Nor one whose values come in another order."""
    with pytest.raises(BenchProblem):
        opened(Statement(1, f"SELECT a FROM some.function({values})", ("x",)), {"some.function": source})
