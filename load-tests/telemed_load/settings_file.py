"""The settings of a platform whose secret one was given: a file of variables, such as .telemed/platform.env."""

from pathlib import Path

from dotenv import dotenv_values

from telemed.kernel.settings import Settings
from telemed_load.problems import LoadProblem


def settings_from(file: Path) -> Settings:
    """Read the file.

    Raises:
        LoadProblem: it cannot be read, or belongs to a production platform.
    """
    try:
        with file.open(encoding="utf-8") as lines:
            given = {name.lower(): value for name, value in dotenv_values(stream=lines).items() if value is not None}
    except OSError as error:
        raise LoadProblem(f"The secret cannot be read from {file}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise LoadProblem(f"{file} is no text in UTF-8.") from error
    try:
        settings = Settings.model_validate(given)
    except ValueError as error:
        raise LoadProblem(f"{file} does not hold what a platform needs: DATABASE_URL, JWT_SECRET, ….") from error
    if settings.environment == "production":
        raise LoadProblem(f"{file} is of a production platform, whose secret mints no token here.")
    return settings
