"""The certificate that the workstation makes for itself: names enter, two files leave.

EC P-256 (RFC 5480), self-signed; 820 days, since Apple's systems take none that holds longer than
825. Made again when it ends within a month or a name is missing. A phone shows a warning once; the
fingerprint that the terminal prints is there to compare.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge_app.files.whole import make_folder, owner_only, write_whole

_DAYS = 820
_RENEW = timedelta(days=30)
# A phone's clock and a Pi's, which has no battery, differ: the certificate begins before today.
_EARLY = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class OwnCertificate:
    """Files in PEM, and the SHA-256 of the certificate in pairs of hex digits."""

    path: Path
    key_path: Path
    fingerprint: str


def own_certificate(folder: Path, names: Iterable[str]) -> OwnCertificate:
    """The certificate for these names and addresses, made where there is no usable one.

    Raises:
        StorageError: it cannot be written.
    """
    path, key_path = folder / "certificate.pem", folder / "key.pem"
    wanted = frozenset(names)
    known = _read(path) if key_path.is_file() else None
    if known is None or not _is_usable(known, wanted):
        with owner_only(True):
            make_folder(folder)
            key = ec.generate_private_key(ec.SECP256R1())
            known = _sign(key, wanted)
            write_whole(key_path, _key_pem(key))
            write_whole(path, known.public_bytes(serialization.Encoding.PEM))
    return OwnCertificate(path, key_path, known.fingerprint(hashes.SHA256()).hex(":").upper())


def _read(path: Path) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return None


def _is_usable(certificate: x509.Certificate, names: frozenset[str]) -> bool:
    known = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    texts = {str(general.value) for general in known}
    return names <= texts and certificate.not_valid_after_utc > datetime.now(UTC) + _RENEW


def _sign(key: ec.EllipticCurvePrivateKey, names: frozenset[str]) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Pneumoscope")])
    begin = datetime.now(UTC) - _EARLY
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=_DAYS))
        .add_extension(x509.SubjectAlternativeName([_general(n) for n in sorted(names)]), False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
