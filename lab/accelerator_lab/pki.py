# SPDX-License-Identifier: Apache-2.0
"""Certificates and keys of a cluster. They live as long as the lab and leave its folder only into its nodes."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from . import cache

LIFETIME = timedelta(days=365)
CA_USE = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path


@contextmanager
def once(pair: Pair) -> Iterator[bool]:
    """Whether a pair is still to be made. Of two commands at a time one makes it: what one wrote is of one piece."""
    if pair.certificate.exists():
        yield False
        return
    with cache.locked(pair.certificate.with_suffix(".lock")):
        yield not pair.certificate.exists()


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = ec.generate_private_key(ec.SECP256R1())
    pkcs8, pem = serialization.PrivateFormat.PKCS8, serialization.Encoding.PEM
    cache.write_whole(path, key.private_bytes(pem, pkcs8, serialization.NoEncryption()), 0o600)
    return key


def _name(common_name: str, groups: tuple[str, ...] = ()) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def alternative_names(names: tuple[str, ...]) -> list[x509.GeneralName]:
    def one(name: str) -> x509.GeneralName:
        try:
            return x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            return x509.DNSName(name)

    return [one(name) for name in names]


class Authority:
    """A certificate authority in a folder: ca.crt, ca.key and what it has signed. Everything is made once."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.pair = Pair(folder / "ca.crt", folder / "ca.key")
        # The certificate is written after its key, so its presence means that both are whole.
        with once(self.pair) as missing:
            if missing:
                key = _key(self.pair.key)
                subject = _name(name)
                self._save(self.pair.certificate, subject, subject, key.public_key(), key, authority=True)

    def issue(self, file: str, common_name: str, groups: tuple[str, ...] = (), hosts: tuple[str, ...] = ()) -> Pair:
        """A pair <file>.crt, <file>.key: for a server if it has hosts, and for a client always."""
        pair = Pair(self.folder / f"{file}.crt", self.folder / f"{file}.key")
        with once(pair) as missing:
            if missing:
                issuer = x509.load_pem_x509_certificate(self.pair.certificate.read_bytes()).subject
                signer = serialization.load_pem_private_key(self.pair.key.read_bytes(), None)
                assert isinstance(signer, ec.EllipticCurvePrivateKey)
                key = _key(pair.key)
                self._save(pair.certificate, _name(common_name, groups), issuer, key.public_key(), signer, hosts)
        return pair

    @staticmethod
    def _save(
        path: Path,
        subject: x509.Name,
        issuer: x509.Name,
        public: ec.EllipticCurvePublicKey,
        signer: ec.EllipticCurvePrivateKey,
        hosts: tuple[str, ...] = (),
        authority: bool = False,
    ) -> None:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            # A guest's clock may be a little behind the host's.
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + LIFETIME)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            # Python 3.13 and later refuse chains without the identifiers, and an authority without its use.
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        )
        if authority:
            builder = builder.add_extension(CA_USE, critical=True)
        else:
            usages = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if hosts else [])]
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternative_names(hosts)), critical=False)
        certificate = builder.sign(signer, hashes.SHA256())
        cache.write_whole(path, certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def signing_pair(folder: Path) -> Pair:
    """The key that signs service account tokens, and its public half (as 'certificate')."""
    pair = Pair(folder / "service-accounts.pub", folder / "service-accounts.key")
    with once(pair) as missing:
        if missing:
            public = _key(pair.key).public_key()
            pem = serialization.PublicFormat.SubjectPublicKeyInfo
            cache.write_whole(pair.certificate, public.public_bytes(serialization.Encoding.PEM, pem), 0o644)
    return pair
