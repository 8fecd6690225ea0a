"""Keys that do not fit end the start with one sentence."""

from pathlib import Path

import pytest
from pydantic import SecretStr
from tests.support.commands import telemed
from tests.support.settings import make_settings

from telemed.auth.tokens.gate import TokenGate
from telemed.auth.tokens.key_files import write_key_pair
from telemed.kernel.identity import TokenVerifier
from telemed.kernel.settings import Settings, SettingsProblem


def eddsa(private: Path | None, *public: Path) -> Settings:
    return make_settings(
        jwt_algorithm="EdDSA",
        jwt_secret=None,
        pepper=SecretStr("only-for-tests"),
        jwt_private_key_file=private,
        jwt_public_key_files=list(public),
    )


async def test_the_command_writes_a_pair_that_works(settings: Settings, tmp_path: Path) -> None:
    """And a private half that nobody else may read; a second call adds a pair."""
    folder = tmp_path / "new" / "keys"
    for count in (1, 2):
        done = await telemed(settings, "keys", "create", "--out", str(folder))
        assert (done.code, done.errors) == (0, "")
        assert len(list(folder.iterdir())) == 2 * count
    (private, *_) = folder.glob("*.private.pem")
    assert private.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert f"JWT_PRIVATE_KEY_FILE={folder}" in done.output
    fitting = eddsa(private, folder / private.name.replace("private", "public"))
    TokenGate(fitting, TokenVerifier(fitting))


async def test_a_folder_that_cannot_be_written_is_one_sentence(settings: Settings, tmp_path: Path) -> None:
    """No traceback."""
    (tmp_path / "file").write_text("")
    done = await telemed(settings, "keys", "create", "--out", str(tmp_path / "file"))
    assert done.code == 1
    assert done.errors.startswith("telemed: Cannot write to ")
    assert done.errors.count("\n") == 1


def test_a_signing_key_that_nobody_could_verify_is_refused(tmp_path: Path) -> None:
    """Otherwise every login would succeed and every request after it fail."""
    one, other = write_key_pair(tmp_path), write_key_pair(tmp_path)
    wrong = eddsa(one.private, other.public)
    with pytest.raises(SettingsProblem, match="JWT_PUBLIC_KEY_FILES"):
        TokenGate(wrong, TokenVerifier(wrong))


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_a_key_file_that_is_none_is_named(tmp_path: Path, content: bytes | None) -> None:
    """Missing, empty, or something else."""
    pair = write_key_pair(tmp_path)
    private = tmp_path / "wrong.pem"
    if content is not None:
        private.write_bytes(content)
    for path in (private, pair.public, None):
        wrong = eddsa(path, pair.public)
        with pytest.raises(SettingsProblem, match="JWT_PRIVATE_KEY_FILE"):
            TokenGate(wrong, TokenVerifier(wrong))
