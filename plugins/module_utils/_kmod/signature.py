# SPDX-License-Identifier: Apache-2.0
"""The signature at the end of a kernel module: who signed it, and how. Pure. PRIVATE.

Layout: include/linux/module_signature.h; the message is CMS (RFC 5652, SignedData) in DER. Whether the signature is
right is not checked: that takes the certificate, and the kernel does it.
"""

from __future__ import annotations

import struct
import typing as t

MAGIC = b"~Module signature appended~\n"
TRAILER = struct.Struct(">BBBBB3xI")  # algorithm, digest, kind, length of name, length of key, length of signature
PKCS7 = 2
SEQUENCE, SET, INTEGER, OBJECT, OCTETS, FIRST = 0x30, 0x31, 0x02, 0x06, 0x04, 0xA0
TEXTS = {0x0C: "utf-8", 0x13: "ascii", 0x14: "latin-1", 0x16: "ascii", 0x1E: "utf-16-be"}
COMMON_NAME = "2.5.4.3"
NAMES = {
    COMMON_NAME: "CN",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "1.2.840.113549.1.9.1": "emailAddress",
    "1.3.14.3.2.26": "sha1",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
    "2.16.840.1.101.3.4.2.8": "sha3-256",
    "2.16.840.1.101.3.4.2.9": "sha3-384",
    "2.16.840.1.101.3.4.2.10": "sha3-512",
    "1.2.840.113549.1.1.1": "rsa",
    "1.2.840.113549.1.1.11": "rsa",
    "1.2.840.113549.1.1.12": "rsa",
    "1.2.840.113549.1.1.13": "rsa",
    "1.2.840.10045.4.3.2": "ecdsa",
    "1.2.840.10045.4.3.3": "ecdsa",
    "1.2.840.10045.4.3.4": "ecdsa",
    "2.16.840.1.101.3.4.3.17": "ml-dsa-44",
    "2.16.840.1.101.3.4.3.18": "ml-dsa-65",
    "2.16.840.1.101.3.4.3.19": "ml-dsa-87",
}


class SignatureError(Exception):
    """There is a signature, and it cannot be read; a kernel refuses such a module. The text is for the user."""


class Signature(t.NamedTuple):
    """signer: common name of the certificate's issuer, as modinfo says. key: serial number or key identifier."""

    signer: str
    key: str
    digest: str
    algorithm: str


class _Value(t.NamedTuple):
    tag: int
    content: bytes


def parse(data: bytes) -> t.Optional[Signature]:
    """None for a module that is not signed."""
    if not data.endswith(MAGIC):
        return None
    end = len(data) - len(MAGIC) - TRAILER.size
    if end < 0:
        raise SignatureError("its signature is cut off")
    algorithm, digest, kind, name, key, size = TRAILER.unpack_from(data, end)
    if kind != PKCS7 or algorithm or digest or name or key:
        raise SignatureError(f"its signature is of kind {kind}: expected {PKCS7}, PKCS#7, which kernels take")
    if size > end:
        raise SignatureError(f"its signature is cut off: expected {size} bytes, seen {end}")
    try:
        return _signed_data(data[end - size : end])
    except (IndexError, ValueError, UnicodeDecodeError) as error:
        raise SignatureError(f"its signature is no CMS message: {error}") from None


def _signed_data(message: bytes) -> Signature:
    """ContentInfo { type, [0] SignedData { version, digests, content, …, SET OF SignerInfo } }"""
    _type, wrapped = _members(_only(message, SEQUENCE))
    signers = _members(_members(_only(_expect(wrapped, FIRST), SEQUENCE))[-1].content)
    version, who, digest, *rest = _members(_expect(signers[0], SEQUENCE))
    if rest[0].tag == FIRST:  # signed attributes
        rest = rest[1:]
    signer, key = _signer(who)
    _expect(version, INTEGER)
    return Signature(signer, key, _algorithm(digest), _algorithm(rest[0]))


def _signer(who: _Value) -> t.Tuple[str, str]:
    if who.tag != SEQUENCE:  # [0] subjectKeyIdentifier: the certificate is named by its key alone
        return "", _hex(who.content)
    issuer, serial = _members(who.content)
    parts = {}
    for group in _members(issuer.content):
        for part in _members(_expect(group, SET)):
            kind, value = _members(_expect(part, SEQUENCE))
            parts[_name(kind)] = value.content.decode(TEXTS.get(value.tag, "latin-1"))
    return parts.get("CN") or ", ".join(f"{k}={v}" for k, v in parts.items()), _hex(_expect(serial, INTEGER))


def _algorithm(value: _Value) -> str:
    return _name(_members(_expect(value, SEQUENCE))[0])


def _name(value: _Value) -> str:
    dotted = _dotted(_expect(value, OBJECT))
    return NAMES.get(dotted, dotted)


def _dotted(content: bytes) -> str:
    numbers, number = [], 0
    for byte in content[:64]:
        number = number << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(number)
            number = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, [first, numbers[0] - 40 * first, *numbers[1:]]))


def _expect(value: _Value, tag: int) -> bytes:
    if value.tag != tag:
        raise ValueError(f"expected a value of tag {tag:#04x}, seen {value.tag:#04x}")
    return value.content


def _only(data: bytes, tag: int) -> bytes:
    return _expect(_members(data)[0], tag)


def _members(data: bytes) -> t.List[_Value]:
    found, at = [], 0
    while at < len(data):
        tag, size = data[at], data[at + 1]
        at += 2
        if size & 0x80:
            digits = size & 0x7F
            if not 1 <= digits <= 4 or at + digits > len(data):
                raise ValueError("a length that is none")
            size = int.from_bytes(data[at : at + digits], "big")
            at += digits
        if at + size > len(data):
            raise ValueError(f"expected {size} bytes, seen {len(data) - at}")
        found.append(_Value(tag, data[at : at + size]))
        at += size
    return found


def _hex(content: bytes) -> str:
    return ":".join(f"{byte:02X}" for byte in content[:64])


__all__ = ("MAGIC", "Signature", "SignatureError", "parse")
