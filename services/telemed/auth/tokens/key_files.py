"""Key files for EdDSA: what auth signs with and everybody verifies with."""

import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from telemed.kernel.identity import public_key_id


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """A pair of files."""

    private: Path
    public: Path
    key_id: str


def write_key_pair(folder: Path) -> KeyFiles:
    """Make a new Ed25519 key and write both halves, named by the key's id, so that a new pair never replaces one.

    Raises:
        OSError: the folder cannot be made or written to.
    """
    key = Ed25519PrivateKey.generate()
    key_id = public_key_id(key.public_key())
    files = KeyFiles(folder / f"{key_id}.private.pem", folder / f"{key_id}.public.pem", key_id)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    _write(files.private, private, mode=0o600)
    _write(files.public, public, mode=0o644)
    return files


def _write(path: Path, content: bytes, *, mode: int) -> None:
    # Created with its mode: a file that is opened first and closed to others afterwards can be read in between.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
