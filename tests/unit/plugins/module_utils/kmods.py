# SPDX-License-Identifier: Apache-2.0
"""Kernel modules and driver images, made of bytes: a good image, and what may be wrong with one."""

from __future__ import annotations

import datetime
import gzip
import hashlib
import io
import json
import struct
import tarfile
from contextlib import contextmanager
from pathlib import Path

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._kmod import signature
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._oci.layers import Layer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID

KERNEL = "6.1.0-40-amd64"
OTHER = "6.1.0-41-amd64"
FOLDER = f"opt/lib/modules/{KERNEL}"
AMD64, ARM64, S390X, I386 = 62, 183, 22, 3


def elf(
    modinfo=(), machine=AMD64, wide=True, order="<", needed=(), exported=(), crcs=None, extended=None, weak=(), kind=1
):
    """An object as a linker leaves it: the table of sections is at its end."""
    names = b"\0" + b"".join(
        name.encode() + b"\0" for name in [*needed, *weak, *[f"__ksymtab_{one}" for one in exported]]
    )
    symbol = struct.Struct(order + ("IBBHQQ" if wide else "IIIBBH"))
    symbols = symbol.pack(*[0] * 6)
    at = 1
    for name, binding, section in [
        *[(one, 1, 0) for one in needed],
        *[(one, 2, 0) for one in weak],
        *[(f"__ksymtab_{one}", 0, 1) for one in exported],
    ]:
        info = binding << 4
        symbols += symbol.pack(at, info, 0, section, 0, 0) if wide else symbol.pack(at, 0, 0, info, 0, section)
        at += len(name) + 1
    info = b"".join(f"{key}={value}".encode() + b"\0" for key, value in modinfo)
    sections = [("", 0, b"", 0), (".modinfo", 1, info, 0), (".strtab", 3, names, 0), (".symtab", 2, symbols, 2)]
    if exported:
        sections.append(("__ksymtab_strings", 1, b"".join(name.encode() + b"\0" for name in exported), 0))
    if crcs is not None:
        form = f"{order}Q56s" if wide else f"{order}I60s"
        sections.append(("__versions", 1, b"".join(struct.pack(form, c, n.encode()) for n, c in crcs.items()), 0))
    if extended is not None:
        sections.append(("__version_ext_crcs", 1, struct.pack(f"{order}{len(extended)}I", *extended.values()), 0))
        sections.append(("__version_ext_names", 1, b"".join(n.encode() + b"\0" for n in extended), 0))
    texts = b"\0".join(name.encode() for name, *_rest in sections) + b"\0.shstrtab\0"
    sections.append((".shstrtab", 3, texts, 0))
    return _laid_out(sections, texts, machine, wide, order, kind)


def _laid_out(sections, texts, machine, wide, order, kind):
    start = 64 if wide else 52
    heads, body = b"", b""
    for name, sort, content, link in sections:
        at = texts.index(name.encode() + b"\0") if name else 0
        form = "IIQQQQIIQQ" if wide else "IIIIIIIIII"
        heads += struct.pack(order + form, at, sort, 0, 0, start + len(body), len(content), link, 0, 0, 0)
        body += content
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    form = "HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"
    size = 64 if wide else 40
    table = start + len(body)
    count = len(sections)
    return (
        ident
        + struct.pack(order + form, kind, machine, 1, 0, 0, table, 0, start, 0, 0, size, count, count - 1)
        + (body + heads)
    )


def ko(name="widget", kernel=KERNEL, depends="", more=(), **layout):
    """A module as kbuild makes it."""
    modinfo = [
        ("version", "0.1.0"),
        ("license", "GPL"),
        *more,
        ("srcversion", "1234567890ABCDEF1234567"),
        ("depends", depends),
        ("name", name),
        ("vermagic", f"{kernel} SMP preempt mod_unload modversions "),
    ]
    return elf(modinfo, **layout)


def signer(name="Build time key of the tests"):
    """A key and its certificate."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime(2026, 1, 1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(0x0123456789ABCDEF)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=9999))
        .sign(key, hashes.SHA256())
    )
    return key, certificate


def signed(data, key, certificate, digest=hashes.SHA512, options=()):
    """As scripts/sign-file does it: a detached CMS message without attributes and certificates, and the trailer."""
    options = options or (pkcs7.PKCS7Options.NoAttributes, pkcs7.PKCS7Options.NoCerts)
    message = (
        pkcs7.PKCS7SignatureBuilder()
        .set_data(data)
        .add_signer(certificate, key, digest())
        .sign(
            serialization.Encoding.DER,
            [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary, *options],
        )
    )
    return data + message + struct.pack(">BBBBB3xI", 0, 0, 2, 0, 0, len(message)) + signature.MAGIC


def tree(*modules, kernel=KERNEL, root="opt", dep=None, **others):
    """The files of an image: modules by their names, what depmod writes, and others by their paths."""
    folder = f"{root}/lib/modules/{kernel}".lstrip("/")
    files = {f"{folder}/extra/{name}.ko": data for name, data in modules}
    if dep is None:
        dep = {name: [] for name, _data in modules}
    lines = [f"extra/{name}.ko:{''.join(f' extra/{one}.ko' for one in needs)}\n" for name, needs in dep.items()]
    files[f"{folder}/modules.dep"] = "".join(lines).encode()
    files[f"{folder}/modules.dep.bin"] = b"\xb0\x07\xf4\x57"
    return {**files, **others}


def tar(files, style=tarfile.PAX_FORMAT):
    """A layer. A text is a link's target, None a folder; a pair is a tar type and a target."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=style) as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            if content is None:
                entry.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
            elif isinstance(content, tuple):
                entry.type, entry.linkname = content
            data = content if isinstance(content, bytes) else b""
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


class Opened:
    """Layers for the reader, and which of them it opened."""

    def __init__(self, *blobs, piece=4096):
        self.names = []
        self.layers = [self._layer(f"layer-{number}", blob, piece) for number, blob in enumerate(blobs, 1)]

    def _layer(self, name, blob, piece):
        @contextmanager
        def opened():
            self.names.append(name)
            yield iter([blob[at : at + piece] for at in range(0, len(blob), piece)])

        return Layer(name, opened)


def oci_archive(path: Path, *blobs, architecture="amd64", labels=None):
    """An image as `skopeo copy … oci-archive:` writes it; the layers as they are given."""
    with tarfile.open(path, "w") as archive:

        def add(name, data):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))

        def blob(data, kind):
            digest = hashlib.sha256(data).hexdigest()
            add(f"blobs/sha256/{digest}", data)
            return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}

        oci = "application/vnd.oci.image"
        ids = [f"sha256:{hashlib.sha256(one).hexdigest()}" for one in map(_plain, blobs)]
        config = {"architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": ids}}
        config["config"] = {"Labels": labels or {}}
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{oci}.manifest.v1+json",
            "config": blob(json.dumps(config).encode(), f"{oci}.config.v1+json"),
            "layers": [blob(one, f"{oci}.layer.v1.tar{_suffix(one)}") for one in blobs],
        }
        index = {"schemaVersion": 2, "manifests": [blob(json.dumps(manifest).encode(), f"{oci}.manifest.v1+json")]}
        add("index.json", json.dumps(index).encode())
        add("oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
    return path


def _plain(data):
    try:
        return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    except EOFError:  # damaged on purpose
        return data


def _suffix(data):
    return "+gzip" if data.startswith(b"\x1f\x8b") else "+zstd" if data.startswith(b"\x28\xb5\x2f\xfd") else ""


def poisoned():
    """What is wrong -> the image's files, demands besides kernel and architecture, code and words of the finding."""
    good = ko(more=[("firmware", "widget/fw.bin")])
    fine = {"firmware/widget/fw.bin": b"firmware"}
    whole = ko("widget", needed=["_printk"])
    return {
        "wrong kernel": (tree(("widget", ko(kernel=OTHER))), {}, "kernel", f"for kernel {OTHER}, expected {KERNEL}"),
        "wrong kernel's folder": (
            tree(("widget", ko(kernel=OTHER)), kernel=OTHER),
            {},
            "kernel",
            f"expected kernel modules in /{FOLDER}, seen those for {OTHER}",
        ),
        "wrong architecture": (
            tree(("widget", ko(machine=ARM64))),
            {},
            "architecture",
            "built for architecture arm64, expected amd64",
        ),
        "missing dependency": (
            tree(("widget", ko(depends="gadget"))),
            {},
            "dependency",
            "it depends on gadget, which is not in the image",
        ),
        "missing firmware": (
            tree(("widget", good)),
            {},
            "firmware",
            "asks for firmware widget/fw.bin, and the image has no /firmware/widget/fw.bin",
        ),
        "unsigned": (
            tree(("widget", good), **fine),
            {"require_signed": True},
            "unsigned",
            "it is not signed, and a signature is demanded",
        ),
        "truncated": (tree(("widget", whole[:-100])), {}, "truncated", "it is cut off"),
    }


def good():
    """One that is in order, with a signature, firmware, and a module that it depends on."""
    key, certificate = signer()
    widget = ko(depends="gadget", more=[("firmware", "widget/fw.bin")], needed=["gadget_open"])
    modules = [("widget", signed(widget, key, certificate)), ("gadget", signed(ko("gadget"), key, certificate))]
    return tree(*modules, dep={"widget": ["gadget"], "gadget": []}, **{"firmware/widget/fw.bin": b"firmware"})
