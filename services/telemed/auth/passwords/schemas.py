"""Passwords in request bodies."""

from typing import Annotated

from pydantic import AfterValidator, Field, Strict, StringConstraints, WithJsonSchema

from telemed.auth.passwords.rules import MAX_LENGTH, MIN_LENGTH, length_problem, normalised_password

_PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f]*$"


def _normalised(value: str) -> str:
    return normalised_password(value)


def _long_enough(value: str) -> str:
    problem = length_problem(value)
    if problem:
        raise ValueError(problem)
    return value


# The bound on what is normalised at all is wide, so that the sentence about the length is ours and not pydantic's.
NewPassword = Annotated[
    str,
    Strict(),
    StringConstraints(max_length=4 * MAX_LENGTH, pattern=_PRINTABLE),
    AfterValidator(_normalised),
    AfterValidator(_long_enough),
    WithJsonSchema(
        {
            "type": "string",
            "format": "password",
            "minLength": MIN_LENGTH,
            "maxLength": MAX_LENGTH,
            "pattern": _PRINTABLE,
            "writeOnly": True,
        }
    ),
]

# At a login the rules of today do not count, only whether it is the password that was chosen.
GivenPassword = Annotated[
    str,
    Strict(),
    StringConstraints(min_length=1, max_length=MAX_LENGTH, pattern=_PRINTABLE),
    AfterValidator(_normalised),
    Field(json_schema_extra={"format": "password", "writeOnly": True}),
]
