"""E-mail addresses in the one form in which they are stored and compared."""

import unicodedata
from typing import Annotated

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, Field, Strict, StringConstraints

MAX_EMAIL_LENGTH = 254  # RFC 5321, section 4.5.3.1.3, less the angle brackets


def normalised_email(value: str) -> str:
    """Give the address with its domain and local part in lower case, in NFC.

    The local part is case-sensitive by RFC 5321 and by no mail provider: two accounts that differ in case only would
    be one person's mistake or another's trap.

    Raises:
        ValueError: nobody can have this address. The message does not repeat it.
    """
    try:
        # Without asking DNS: registering must not wait for other people's servers. `.test` is accepted as
        # RFC 6761 has it made for us.
        checked = validate_email(value, check_deliverability=False, test_environment=True, strict=True)
    except EmailNotValidError as error:
        raise ValueError("this is not an e-mail address") from error
    address = unicodedata.normalize("NFC", checked.normalized.lower())
    if len(address) > MAX_EMAIL_LENGTH:
        raise ValueError(f"an e-mail address has at most {MAX_EMAIL_LENGTH} characters")
    return address


EmailAddress = Annotated[
    str,
    Strict(),
    StringConstraints(min_length=3, max_length=MAX_EMAIL_LENGTH),
    AfterValidator(normalised_email),
    Field(json_schema_extra={"format": "email"}),
]
