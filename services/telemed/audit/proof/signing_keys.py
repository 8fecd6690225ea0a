"""The keys of exported checkpoints: Ed25519, in PEM files."""

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from telemed.audit.proof.lines import Unreadable


def signing_key(path: Path | None) -> Ed25519PrivateKey | None:
    """Read the key with which checkpoints are signed; None if there is none.

    Raises:
        Unreadable: it is no such key.
    """
    if path is None:
        return None
    try:
        key = load_pem_private_key(_content(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Unreadable(f"{path} holds no unencrypted private key in PEM form.") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise Unreadable(f"{path} holds a key of another kind than Ed25519.")
    return key


def verifying_key(path: Path | None) -> Ed25519PublicKey | None:
    """Read the key by which signatures are checked; None if there is none.

    Raises:
        Unreadable: it is no such key.
    """
    if path is None:
        return None
    try:
        key = load_pem_public_key(_content(path))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Unreadable(f"{path} holds no public key in PEM form.") from error
    if not isinstance(key, Ed25519PublicKey):
        raise Unreadable(f"{path} holds a key of another kind than Ed25519.")
    return key


def public_pem(key: Ed25519PrivateKey) -> str:
    """Give the public half, to be handed to whoever verifies."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror or error}.") from error
