"""What can go wrong in a consultation, for those who can act on it."""

from pydantic import Field

from telemed.kernel.problems import NotFound, Problem
from telemed.kernel.text import Instant


class VisitNotOpenYet(Problem):
    """It is too early to start the visit."""

    status = 409
    is_final = False  # the same request succeeds later

    class Extras(Problem.Extras):
        opens_at: Instant = Field(description="From when on it may be started.")


class VisitLapsed(Problem):
    """It is too late to start the visit."""

    status = 409

    class Extras(Problem.Extras):
        lapsed_at: Instant = Field(description="Until when it might have been started.")


class NoShowTooEarly(Problem):
    """The patient may still come; nobody can be late before the visit's time."""

    status = 409
    is_final = False  # the same request succeeds later

    class Extras(Problem.Extras):
        allowed_from: Instant = Field(description="From when on the patient can be late.")


class PrescriptionNotIssued(NotFound):
    """The visit has no prescription yet."""

    is_final = False


class PrescribedMeanwhile(Problem):
    """Another prescription was issued at the same moment; nothing was done."""

    status = 409
    is_final = False  # the same request gets the next version


class PrescriptionLimitReached(Problem):
    """The visit has as many versions of its prescription as there may be."""

    status = 409
