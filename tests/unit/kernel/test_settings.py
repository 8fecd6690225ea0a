"""Settings: a wrong or missing one ends the start with one clear sentence, and no secret is ever shown."""

from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.settings import JWT_SECRET

from telemed.booking.slots.keys import GONE_WINDOW
from telemed.kernel.engine import asyncpg_url
from telemed.kernel.settings import Settings, SettingsProblem, load_settings


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without a platform of `make run`, and an environment with nothing but the secret."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JWT_SECRET", JWT_SECRET)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("PORT", "http", "PORT: "),
        ("PORT", "70000", "PORT: "),
        ("DATABASE_POOL_SIZE", "0", "DATABASE_POOL_SIZE: "),
        ("BCRYPT_COST", "3", "BCRYPT_COST: "),
        ("JWT_ALGORITHM", "none", "JWT_ALGORITHM: "),
        ("JWT_SECRET", "short", "JWT_SECRET must be set to at least 32 characters."),
        ("JWT_SECRET", "", "JWT_SECRET must be set to at least 32 characters."),
        ("JWT_ALGORITHM", "EdDSA", "JWT_PUBLIC_KEY_FILES must name"),
        ("LOG_LEVEL", "loud", "LOG_LEVEL: "),
        ("REDIS_URL", "redis://:short@one,two", "REDIS_URL names several hosts"),
        ("REDIS_URL", "memcached://one", "REDIS_URL must begin with one of redis://"),
        ("REDIS_HOST", "not a host", "REDIS_HOST must name hosts"),
    ],
)
def test_a_wrong_setting_is_one_sentence(monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str) -> None:
    """It names the variable, says what is expected, and has no traceback in it."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsProblem) as raised:
        load_settings()
    words = str(raised.value)
    assert words.startswith(sentence)
    assert words.endswith(".")
    assert "\n" not in words
    assert "short" not in value or "short" not in words


def test_the_plain_names_of_an_env_file_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """POSTGRES_*, REDIS_* and JWT_SECRET are enough; special characters in a password do no harm."""
    plain = {
        "POSTGRES_USER": "post gres",
        "POSTGRES_PASSWORD": "p@ss:w/rd",
        "POSTGRES_DB": "clinic",
        "POSTGRES_HOST": "db",
        "POSTGRES_PORT": "5433",
        "REDIS_HOST": "cache",
        "REDIS_PORT": "6380",
    }
    for name, value in plain.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    address = "postgresql://post%20gres:p%40ss%3Aw%2Frd@db:5433/clinic"
    assert settings.services_database == settings.owner_database == settings.worker_database == address
    assert settings.redis_address == "redis://cache:6380/0"


def test_an_address_wins_over_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """DATABASE_URL and REDIS_URL are the last word."""
    monkeypatch.setenv("POSTGRES_HOST", "db")
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere/x")
    monkeypatch.setenv("REDIS_URL", "rediss://elsewhere:6379/1")
    settings = load_settings()
    assert settings.services_database == "postgresql://elsewhere/x"
    assert settings.redis_address == "rediss://elsewhere:6379/1"


def test_a_platform_of_this_checkout_is_found(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`telemed` commands find what `make run` started; the environment still wins."""
    monkeypatch.delenv("JWT_SECRET")
    (elsewhere / ".telemed").mkdir()
    (elsewhere / ".telemed" / "platform.env").write_text(f"JWT_SECRET={JWT_SECRET}\nPORT=4711\nUNKNOWN=1\n")
    assert load_settings().port == 4711
    monkeypatch.setenv("PORT", "4712")
    assert load_settings().port == 4712


def test_a_platform_with_another_database_is_left_alone(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its secrets belong to its own database: half of one platform and half of another would be neither."""
    (elsewhere / ".telemed").mkdir()
    file = elsewhere / ".telemed" / "platform.env"
    file.write_text("DATABASE_URL=postgresql://here/a\nPORT=4711\n")
    monkeypatch.setenv("DATABASE_URL", "postgresql://there/b")
    assert load_settings().port == 3000
    monkeypatch.setenv("DATABASE_URL", "postgresql://here/a")
    assert load_settings().port == 4711
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("POSTGRES_HOST", "there")
    assert load_settings().port == 3000
    file.write_text("PORT=4712\n")  # a platform on a database that was given to it
    assert load_settings().port == 4712


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    """As people write them in an environment."""
    monkeypatch.setenv("TRUSTED_PROXIES", "10.0.0.0/8, 192.168.1.1,")
    assert load_settings().trusted_proxies == ["10.0.0.0/8", "192.168.1.1"]


def test_secrets_are_not_shown() -> None:
    """A settings object may end up in a log."""
    settings = Settings(
        _env_file=None,
        jwt_secret=JWT_SECRET,
        database_url="postgresql://u:hidden@db/x",
    )
    assert JWT_SECRET not in repr(settings)
    assert "hidden" not in repr(settings)


def test_settings_do_not_change() -> None:
    """What was read at the start holds until the end."""
    settings = load_settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1  # type: ignore[misc]


def test_a_search_page_does_not_outlive_the_memory_of_what_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a taken slot could come back into search."""
    longest = timedelta(seconds=270)
    assert longest < GONE_WINDOW
    monkeypatch.setenv("SEARCH_STALE_SECONDS", str(longest.total_seconds() + 1))
    with pytest.raises(SettingsProblem, match="SEARCH_STALE_SECONDS"):
        load_settings()


def test_an_address_is_read_as_libpq_writes_it() -> None:
    """`sslmode` included: that is what operators are given."""
    url = asyncpg_url("postgres://u:p%40ss@db:6432/telemed?sslmode=require&application_name=x")
    assert (url.drivername, url.password, url.host, url.port) == ("postgresql+asyncpg", "p@ss", "db", 6432)
    assert dict(url.query) == {"ssl": "require", "application_name": "x"}
