"""What can go wrong with identities."""

from collections.abc import Mapping
from datetime import timedelta

from telemed.kernel.problems import Problem

# One sentence, whatever was wrong: what differs would tell.
WRONG_CREDENTIALS = "The e-mail address or the password is wrong."
_BEARER: Mapping[str, str] = {"WWW-Authenticate": 'Bearer realm="telemed"'}


class EmailTaken(Problem):
    """There is an account with this e-mail address."""

    status = 409


class InvalidCredentials(Problem):
    """E-mail address or password is wrong.

    The same for an address that nobody has: an answer that told them apart would tell who is a patient.
    """

    status = 401
    is_final = False  # somebody may register with them
    headers = _BEARER


class InvalidRefreshToken(Problem):
    """The refresh token is not valid; log in again."""

    status = 401
    is_final = False
    headers = _BEARER


class TooManyAttempts(Problem):
    """There were too many wrong passwords; wait a little."""

    status = 429
    is_final = False
    retry_after = timedelta(minutes=1)


class LastAdmin(Problem):
    """The platform would be left without an administrator."""

    status = 409
    is_final = False  # another administrator may come
