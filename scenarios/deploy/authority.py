"""Keys and certificates of a fleet: a CA of its own, the SuperLink's certificate, and a key for each device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

YEARS = 10  # devices in the field outlive certificates of a year
SKEW = timedelta(days=1)  # a device's clock may be behind
LOCAL = ("127.0.0.1", "localhost")


@dataclass(frozen=True)
class Authority:
    """Attributes: key, what signs certificates; certificate, what everybody trusts."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def new(cls, name: str) -> Authority:
        """`name`: shown in the certificate, at most 64 letters."""
        key = ec.generate_private_key(ec.SECP384R1())
        usage = x509.KeyUsage(
            digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        found = _builder(_name(name), _name(name), key.public_key())
        found = found.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        found = found.add_extension(usage, critical=True).add_extension(identifier, critical=False)
        return cls(key, found.sign(key, hashes.SHA384()))

    def server(self, hosts: Sequence[str]) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        """Key and certificate of a server with these names and addresses, and of this machine."""
        key = ec.generate_private_key(ec.SECP384R1())
        names = [_host(host) for host in dict.fromkeys((*hosts, *LOCAL))]
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        found = _builder(_name("SuperLink"), self.certificate.subject, key.public_key())
        found = found.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        found = found.add_extension(x509.SubjectAlternativeName(names), critical=False)
        found = found.add_extension(usage, critical=False).add_extension(issuer, critical=False)
        return key, found.sign(self.key, hashes.SHA384())


def device_key() -> tuple[bytes, bytes]:
    """A SuperNode's private key and its public half, as Flower reads them: P-384, in OpenSSH's format."""
    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private, public + b"\n"


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return x509.CertificateBuilder(
        subject_name=subject, issuer_name=issuer, public_key=key, serial_number=x509.random_serial_number(),
        not_valid_before=now - SKEW, not_valid_after=now + timedelta(days=365 * YEARS),
    )  # fmt: skip


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
