"""Certificate authorities of the tests' own."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)
SIGNS = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


class Authority:
    """An authority whose certificate is in ``file``, and what it issues beside it."""

    def __init__(self, folder, name="authority"):
        self._folder, self._name = folder, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        own = self._signed(name, self._key.public_key(), 365 * DAY, x509.BasicConstraints(True, None), SIGNS)
        self.file = self._written("pem", own.public_bytes(Encoding.PEM))

    def issue(self, lasts=90 * DAY):
        """Write a certificate for 127.0.0.1 and its private key; return both paths."""
        private = ec.generate_private_key(ec.SECP256R1())
        address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        cert = self._signed("server", private.public_key(), lasts, address)
        key = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return self._written("server.pem", cert.public_bytes(Encoding.PEM)), self._written("server.key", key)

    def _signed(self, subject, public_key, lasts, *extensions):
        ours = self._key.public_key()
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(
            _named(self._name), _named(subject), public_key, x509.random_serial_number(), now - DAY, now + lasts
        )
        for extension in (
            *extensions,
            x509.SubjectKeyIdentifier.from_public_key(public_key),
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ours),
        ):
            critical = isinstance(extension, x509.BasicConstraints | x509.KeyUsage)
            builder = builder.add_extension(extension, critical)
        return builder.sign(self._key, hashes.SHA256())

    def _written(self, ending, content):
        path = self._folder / f"{self._name}.{ending}"
        path.write_bytes(content)
        return path


def _named(name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
