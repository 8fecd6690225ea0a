"""Words that occur nowhere else, one for each thing that must not get about, and where one of them is found."""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

# What a person tells the platform, or what stands for the person. Ids are none of these: audit records, events and
# logs hold ids by design.
OF_PATIENTS = (
    "full_name",
    "email",
    "reason",
    "diagnosis",
    "medicine",
    "dosage",
    "frequency",
    "instructions",
    "advice",
    "password",
    "wrong_password",
    "search",
)
OF_DOCTORS = ("doctor_name", "doctor_email", "registration_number", "bio", "specialization")
# What a client sends beside the body, in a form that is none of ours.
OF_REQUESTS = (
    "idempotency_key",
    "path",
    "query",
    "user_agent",
    "request_id",
    "tracestate",
    "baggage",
    "traceparent",
    "json",
    "field_name",
)
# What a fault of a server or of a program says in the text of its error.
OF_FAULTS = ("fault_of_database", "fault_of_subscriber", "fault_of_job")


@dataclass
class Markers:
    """One marker for each kind of thing; *given* are those that the platform itself made up, such as tokens."""

    made: Mapping[str, str] = field(default_factory=lambda: dict(_new_markers()))
    given: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, kind: str) -> str:
        return self.made[kind]

    def keep(self, kind: str, value: str) -> None:
        """Look for what the platform gave out, too: a token, or the part of it that is secret."""
        assert len(value) > 16, "shorter ones occur by chance"
        self.given[f"{kind} {len(self.given)}"] = value

    def found_in(self, text: str) -> set[str]:
        """Give the kinds whose marker occurs in the text, in whatever case, also as the hexadecimal of its bytes."""
        lowered = text.lower()
        return {
            kind
            for kind, marker in {**self.made, **self.given}.items()
            if marker.lower() in lowered or marker.encode().hex() in lowered
        }


def _new_markers() -> Iterator[tuple[str, str]]:
    for kind in (*OF_PATIENTS, *OF_DOCTORS, *OF_REQUESTS, *OF_FAULTS):
        # Letters and digits only, so that no encoding changes it.
        yield kind, f"zq{kind.replace('_', '')}{secrets.token_hex(5)}"
    # The form of a telephone number leaves digits only.
    yield "phone", "".join(str(secrets.randbelow(10)) for _ in range(14))
