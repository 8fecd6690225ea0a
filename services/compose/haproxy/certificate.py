"""Make the gateway's certificate, from an authority of this deployment's own, if there is none that is still good.

Runs in the image, which has `cryptography`, before the gateway starts. With a certificate from a real authority
(GATEWAY_TLS) nobody uses what it makes. It keeps no key of its authority: whoever reads the volume can sign nothing.
"""

import datetime as dt
import ipaddress
import os
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

FOLDER = Path("/tls")
# Renewed by any `up` in its last month. Clients must learn of the new authority, so not every week.
VALID_FOR = dt.timedelta(days=90)
RENEW_BEFORE = dt.timedelta(days=30)
_LEEWAY = dt.timedelta(minutes=5)  # for a clock that is behind
# The gateway's user in its image (docker-compose.yml); nobody else may read the key.
GATEWAY_USER = 99


def main() -> int:
    """Write gateway.pem (certificate and key) and ca.pem (for clients); print what was done."""
    gateway, authority = FOLDER / "gateway.pem", FOLDER / "ca.pem"
    now = dt.datetime.now(dt.UTC)
    if gateway.exists() and authority.exists():
        # It ends with its authority; and the gateway's own file cannot be read here any more.
        ends_at = x509.load_pem_x509_certificate(authority.read_bytes()).not_valid_after_utc
        if ends_at - now > RENEW_BEFORE:
            print(f"The certificate is good until {ends_at:%Y-%m-%d}.")
            return 0
    certificate_and_key, ca = _make(now)
    _write(authority, ca, 0o644)
    _write(gateway, certificate_and_key, 0o400, owner=GATEWAY_USER)
    print(f"A new certificate, good until {now + VALID_FOR:%Y-%m-%d}: clients need the new ca.pem.")
    return 0


def _make(now: dt.datetime) -> tuple[bytes, bytes]:
    """Give the gateway's certificate with its key, and the authority's certificate."""
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = _name("Telemed compose")
    authority = (
        _draft(issuer, issuer, authority_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in os.environ["GATEWAY_NAMES"].split(",")]
    certificate = (
        _draft(_name("Telemed gateway"), issuer, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([*names, x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(pem) + private, authority.public_bytes(pem)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _draft(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _LEEWAY)
        .not_valid_after(now + VALID_FOR)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write(path: Path, content: bytes, mode: int, owner: int | None = None) -> None:
    """Put a complete file in its place, even of one that is somebody else's."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    new.chmod(mode)
    if owner is not None:
        os.chown(new, owner, owner)
    new.replace(path)


if __name__ == "__main__":
    sys.exit(main())
