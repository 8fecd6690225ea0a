"""What `make run` prints at the end: where the platform is, who one can be, and commands to try."""

from telemed.contracts.roles import Role
from telemed.local.demo.accounts import DEMO_PASSWORD, demo_accounts
from telemed.local.demo.story import JOURNEY_LANGUAGE, JOURNEY_SPECIALIZATION


def welcome(base_url: str) -> str:
    """Give the whole text; *base_url* has no slash at its end."""
    accounts = "\n".join(f"  {one.role:<8} {one.email:<20} {one.full_name}" for one in demo_accounts())
    return f"""\
  API        {base_url}
  try it at  {base_url}/docs

Demo accounts, all with the password: {DEMO_PASSWORD}
{accounts}

As the patient: log in, find one of a dermatologist's free slots, book it, look at the visit.
Paste all four lines into bash or zsh:

{journey(base_url)}"""


def journey(base_url: str) -> str:
    """Give the commands: curl and sed only, one a line, so that they survive being pasted.

    No comments, which an interactive zsh does not know, and every address in quotes, as zsh would expand `?`.
    """
    patient = next(one for one in demo_accounts() if one.role is Role.PATIENT)
    login = f'{{"email":"{patient.email}","password":"{patient.password}"}}'
    # The last of a page: the first may be at the time of the visit that the patient has today.
    search = f"specialization={JOURNEY_SPECIALIZATION}&language={JOURNEY_LANGUAGE}&limit=20"
    json = "-H 'Content-Type: application/json'"
    bearer = '-H "Authorization: Bearer $TOKEN"'
    return "\n".join(
        (
            f"TOKEN=$(curl -s '{base_url}/auth/login' {json} -d '{login}'"
            """ | sed -n 's/.*"access_token":"\\([^"]*\\)".*/\\1/p')""",
            f"SLOT=$(curl -s '{base_url}/booking/slots/search?{search}'"
            """ | sed -n 's/.*{"id":"\\([^"]*\\)","starts_at.*/\\1/p')""",
            f"VISIT=$(curl -s '{base_url}/booking/slots/book' {bearer} {json}"
            """ -d '{"slot_id":"'"$SLOT"'","reason":"Itching rash"}'"""
            """ | sed -n 's/^{"id":"\\([^"]*\\)".*/\\1/p')""",
            f'curl -s "{base_url}/consultation/$VISIT" {bearer}; echo',
        )
    )
