"""E-mail addresses."""

import pytest
from pydantic import TypeAdapter, ValidationError

from telemed.auth.emails import EmailAddress

EMAIL = TypeAdapter(EmailAddress)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("Asha.Rao@Example.COM", "asha.rao@example.com"),
        ("a@clinic.test", "a@clinic.test"),
        ("a@clinic.example", "a@clinic.example"),
        ("a+tag@example.com", "a+tag@example.com"),
        ("ü@bücher.de", "ü@bücher.de"),
        ("U\u0308@xn--bcher-kva.de", "ü@bücher.de"),
        ("a" * 64 + "@" + ".".join(["b" * 61] * 3) + ".com", "a" * 64 + "@" + ".".join(["b" * 61] * 3) + ".com"),
    ],
)
def test_addresses_are_kept_in_one_form(given: str, kept: str) -> None:
    """Case, composition and punycode do not make another person; reserved domains for tests are accepted."""
    assert EMAIL.validate_python(given) == kept


@pytest.mark.parametrize(
    "given",
    [
        "",
        "a",
        "a@b",
        "@example.com",
        "a@",
        "a b@example.com",
        "a@example.com\x00",
        "a\n@example.com",
        "a@exa\ud800mple.com",
        "a" * 65 + "@example.com",
        "a@" + "b" * 260 + ".com",
        "a" * 10_000_000,
        "a@localhost",
        "a@[127.0.0.1]",
    ],
)
def test_what_nobody_can_have_is_refused_without_being_repeated(given: str) -> None:
    """The message does not hold what was sent."""
    with pytest.raises(ValidationError) as refused:
        EMAIL.validate_python(given)
    assert "@" not in refused.value.errors()[0]["msg"]
