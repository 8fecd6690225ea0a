"""Problems: what they say on the wire and in the OpenAPI document."""

from datetime import datetime, timedelta
from uuid import UUID

import jsonschema_rs
import pytest
from pydantic import Field, ValidationError

from telemed.kernel.problems import (
    MEDIA_TYPE,
    FieldError,
    InvalidRequest,
    KeyReused,
    NotAuthenticated,
    Overloaded,
    Problem,
    component,
    raises,
)
from telemed.kernel.text import Instant


class TooEarly(Problem):
    """The doctor is not there yet.

    A second sentence for those who read the class.
    """

    status = 425
    retry_after = timedelta(milliseconds=300)

    class Extras(Problem.Extras):
        opens_at: Instant = Field(description="When to come.")
        doctor_id: UUID | None = Field(default=None, description="Who it is.")


COME_AT = datetime.fromisoformat("2026-11-23T10:00:00+01:00")


def test_a_problem_renders_as_rfc_9457() -> None:
    """Slug, title and status come from the class, the rest from the occurrence."""
    document = TooEarly("Come later.", opens_at=COME_AT).document(instance="/x", trace_id="t")
    assert document == {
        "type": "too-early",
        "title": "The doctor is not there yet",
        "status": 425,
        "detail": "Come later.",
        "instance": "/x",
        "trace_id": "t",
        "opens_at": "2026-11-23T09:00:00Z",
        "doctor_id": None,
    }


def test_a_problem_without_words_says_its_title() -> None:
    assert Overloaded().detail == "The platform is busy; nothing was done."


@pytest.mark.parametrize("extras", [{}, {"opens_at": COME_AT, "opens_att": 1}, {"opens_at": "soon"}], ids=str)
def test_extras_are_checked_where_the_problem_is_made(extras: dict[str, object]) -> None:
    """A client never gets a member that the document does not know, nor misses one that it promises."""
    with pytest.raises(ValidationError):
        TooEarly(**extras)  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize(
    ("wait", "seconds"), [(timedelta(milliseconds=300), "1"), (timedelta(seconds=90), "90"), (timedelta(0), "1")]
)
def test_retry_after_is_whole_seconds_and_never_zero(wait: timedelta, seconds: str) -> None:
    """Zero would ask for a hot loop."""
    assert Overloaded(retry_after=wait).response_headers()["Retry-After"] == seconds


def test_not_authenticated_says_how() -> None:
    assert NotAuthenticated().response_headers()["WWW-Authenticate"].startswith("Bearer")


def test_a_declaration_lists_each_kind_under_its_status() -> None:
    """Two kinds with one status are told apart by their examples, and headers are announced."""
    declared = raises(KeyReused, TooEarly)
    content = declared[422]["content"][MEDIA_TYPE]
    assert set(content["examples"]) == {"key-reused", "invalid-request"}
    assert content["schema"]["anyOf"]
    assert "Retry-After" in declared[425]["headers"]
    assert {500, 503} <= set(declared)


@pytest.mark.parametrize("kind", [TooEarly, InvalidRequest, NotAuthenticated])
def test_the_schema_of_a_problem_accepts_what_is_sent_and_its_own_example(kind: type[Problem]) -> None:
    """What the document promises is what comes."""
    schema = component(kind)
    extras = {"opens_at": COME_AT} if kind is TooEarly else {}
    sent = kind(**extras).document(instance="/x", trace_id="t")  # type: ignore[arg-type]
    components = {"schemas": {"FieldError": FieldError.model_json_schema()}}
    validator = jsonschema_rs.validator_for(schema | {"components": components}, validate_formats=True)
    for document in (sent, schema["example"]):
        validator.validate(document)
    assert schema["properties"]["type"] == {
        "const": kind.slug(),
        "description": schema["properties"]["type"]["description"],
    }
