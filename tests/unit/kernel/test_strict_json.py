"""Strict JSON: what two parsers could read differently is refused, everything else is read unchanged."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemed.kernel.http.strict_json import MAX_DEPTH, parse_strictly

CLEAN_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
CLEAN_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | CLEAN_TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(CLEAN_TEXT, inner),
    max_leaves=20,
)


@given(CLEAN_JSON, st.booleans())
def test_reads_clean_json_as_everybody_does(value: Any, ascii_only: bool) -> None:
    """Whatever is plain JSON is accepted and means the same."""
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    assert parse_strictly(body) == json.loads(body) == value


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_never_fails_otherwise_than_by_refusing(body: bytes) -> None:
    """No bytes whatsoever raise anything but the one error that becomes a 422."""
    try:
        value = parse_strictly(body)
    except json.JSONDecodeError:
        return
    assert value == json.loads(body)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"a": {"b": 1, "\\u0062": 2}}', "twice"),
        (b"NaN", "NaN"),
        (b'{"fee": Infinity}', "Infinity"),
        (b"[-Infinity]", "Infinity"),
        (b"[1e999]", "too large"),
        (b"-1e400", "too large"),
        (b'"\\ud800"', "surrogate"),
        (b'{"\\udfff": 1}', "surrogate"),
        (b'["\\ud83d\\ud83d\\ude00"]', "surrogate"),
        (b"\xff\xfe", "UTF-8"),
        (b'"\xed\xa0\x80"', "UTF-8"),
        (b'"\xc0\x80"', "UTF-8"),
        (b"1" * 5000, "too long"),
        (b"[" * 10_000 + b"]" * 10_000, "deep"),
        (b'{"a":' * 100_000, "deep"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "deep"),
        (b'{"a": [' * MAX_DEPTH + b"]}" * MAX_DEPTH, "deep"),
        (b"", "(?s)."),
        (b"\xef\xbb\xbf{}", "(?s)."),
        (b"{} {}", "(?s)."),
        (b"{'a': 1}", "(?s)."),
        (b'"tab\tinside"', "(?s)."),
        (b"{\x00}", "(?s)."),
    ],
    ids=lambda value: value[:24].decode("latin-1") if isinstance(value, bytes) else None,
)
def test_refuses(body: bytes, why: str) -> None:
    """Each way to be ambiguous or bottomless has a sentence of its own."""
    with pytest.raises(json.JSONDecodeError, match=why):
        parse_strictly(body)


def test_accepts_nesting_up_to_the_bound() -> None:
    """Many containers side by side are not depth."""
    deep = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert parse_strictly(deep) == json.loads(deep)
    wide = json.dumps([[{}] for _ in range(1000)]).encode()
    assert parse_strictly(wide) == json.loads(wide)


def test_accepts_pairs_of_surrogates() -> None:
    """An escaped emoji is one character, not half of one."""
    assert parse_strictly(b'"\\ud83d\\ude00"') == "😀"
