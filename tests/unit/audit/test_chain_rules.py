"""The canonical form: the same record gives the same bytes, another record gives others."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemed.audit.chain.rules import (
    CHECKPOINT_EVERY,
    CHECKPOINT_RECORDS,
    TEXT_COLUMNS,
    canonical_json,
    canonical_record,
    chain_hash,
    checkpoint_due,
    parse_exactly,
    record_hash,
)

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
columns = st.fixed_dictionaries({name: st.none() | st.text() for name in TEXT_COLUMNS})


def test_a_known_record_has_its_known_hash() -> None:
    """Written out by hand, as an auditor would with other tools. If this changes, every old checkpoint is void."""
    columns: dict[str, str | None] = dict.fromkeys(TEXT_COLUMNS) | {"action": "thing.réad", "id": "0198f3c2"}
    text = (
        '{"action":"thing.r\\u00e9ad","actor_id":null,"actor_role":null,"client_address":null,"details":{"a":1.50},'
        '"entity_id":null,"entity_type":null,"id":"0198f3c2","outcome":null,"patient_id":null,"recorded_at":null,'
        '"request_id":null,"trace_id":null,"v":1}'
    )
    assert canonical_record(columns, '{"a": 1.50}') == text
    assert record_hash(text) == hashlib.sha256(text.encode()).digest()
    assert chain_hash(bytes(32), 1, bytes(32)) == hashlib.sha256(bytes(39) + b"\x01" + bytes(32)).digest()


@given(columns, columns, values, values)
def test_different_records_have_different_forms(one: Any, other: Any, details: Any, other_details: Any) -> None:
    """No two can be written the same way."""
    forms = [canonical_record(one, json.dumps(details)), canonical_record(other, json.dumps(other_details))]
    are_same = one == other and json.dumps(details, sort_keys=True) == json.dumps(other_details, sort_keys=True)
    assert (forms[0] == forms[1]) == are_same


@given(values)
def test_the_canonical_form_reads_back_as_itself(value: Any) -> None:
    """An exported log hashes as the database does."""
    text = canonical_json(parse_exactly(json.dumps(value)))
    assert json.loads(text) == value
    assert canonical_json(parse_exactly(text)) == text


@pytest.mark.parametrize(("one", "other"), [("1", "1.0"), ("0.1", "0.10000000000000000001"), ("1e2", "100")])
def test_numbers_are_not_rounded(one: str, other: str) -> None:
    """What a float would take for the same is not."""
    assert canonical_json(parse_exactly(one)) != canonical_json(parse_exactly(other))


def test_details_too_deep_to_be_ours_do_not_stop_the_chain() -> None:
    """They are hashed as a text."""
    deep = "[" * 100_000 + "]" * 100_000
    assert json.loads(canonical_record(dict.fromkeys(TEXT_COLUMNS), deep))["details"] == deep


@pytest.mark.parametrize(
    ("chained", "age", "is_due"),
    [
        (0, timedelta(days=1), False),
        (1, timedelta(0), False),
        (1, CHECKPOINT_EVERY, True),
        (1, None, True),
        (CHECKPOINT_RECORDS, timedelta(0), True),
    ],
)
def test_a_checkpoint_is_due_after_enough_records_or_time(chained: int, age: timedelta | None, is_due: bool) -> None:
    """Only if anything is new."""
    last_made_at = NOW - age if age is not None else None
    assert checkpoint_due(chained=100 + chained, covered=100, last_made_at=last_made_at, now=NOW) == is_due
