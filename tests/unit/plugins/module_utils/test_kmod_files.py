# SPDX-License-Identifier: Apache-2.0
"""One kernel module's file: what is read of it, against what it was made of, against modinfo, and against noise."""

from __future__ import annotations

import gzip
import lzma
import os
import random
import shutil
import subprocess
from pathlib import Path

import kmods
import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._kmod import elf, facts, signature, symvers
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import pkcs7
from hypothesis import given, settings
from hypothesis import strategies as st

# Where a module of a real kernel may be; KMOD_SAMPLES names one more folder.
REAL = [Path(os.environ.get("KMOD_SAMPLES", "/nowhere")), Path("/lib/modules"), Path("/usr/lib/modules")]


@pytest.mark.parametrize("wide", [True, False], ids=["64", "32"])
@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
def test_elf_of_each_form(wide, order):
    crcs = {"module_layout": 0x12345678, "_printk": 0x92997ED8}
    data = kmods.ko(
        wide=wide,
        order=order,
        machine=kmods.S390X,
        needed=["_printk", "_GLOBAL_OFFSET_TABLE_"],
        weak=["maybe"],
        exported=["widget_open"],
        crcs=crcs,
    )
    read = elf.parse(data)
    assert (read.architecture, read.needed, read.exported) == ("s390x", ["_printk"], ["widget_open"])
    assert read.crcs == crcs
    assert dict(read.modinfo)["vermagic"].startswith(kmods.KERNEL)


def test_extended_versions_come_before_the_others():
    long = "a_symbol_with_a_name_that_is_longer_than_the_fifty_six_bytes_of_the_older_form"
    read = elf.parse(kmods.ko(crcs={"old": 1}, extended={"module_layout": 7, long: 0xFFFFFFFF}))
    assert read.crcs == {"module_layout": 7, long: 0xFFFFFFFF}


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (b"", elf.Truncated, "it is empty"),
        (b"#!/bin/sh\n", elf.ElfError, "it is no ELF file: it begins with 23212f62"),
        (kmods.ko()[:19], elf.Truncated, "ELF header is cut off"),
        (kmods.ko()[:200], elf.Truncated, "its table of sections ends at byte"),
        (kmods.elf(kind=2), elf.ElfError, "its ELF type is 2: expected 1"),
        (kmods.elf([]).replace(b".modinfo", b".modinfX"), elf.ElfError, "no section .modinfo"),
    ],
)
def test_what_is_no_module(data, kind, words):
    with pytest.raises(kind, match=words):
        elf.parse(data)


@pytest.mark.parametrize("cut", [1, 64, 300, 700])
def test_a_module_that_ends_early_is_truncated(cut):
    data = kmods.ko(needed=[f"symbol_{number}" for number in range(20)])
    module = facts.look("a/widget.ko", data[:-cut])
    assert module.problem.code == "truncated", module.problem
    assert f"and the file at {len(data) - cut}" in module.problem.text


def test_a_signed_module():
    key, certificate = kmods.signer("Acme module signing key")
    data = kmods.signed(kmods.ko(), key, certificate)
    found = signature.parse(data)
    assert found == ("Acme module signing key", "01:23:45:67:89:AB:CD:EF", "sha512", "rsa")
    assert signature.parse(kmods.ko()) is None
    module = facts.look("a/widget.ko", data)
    assert (module.problem, module.kernel) == (None, kmods.KERNEL)


def test_signatures_with_certificates_and_attributes():
    key, certificate = kmods.signer()
    data = kmods.signed(kmods.ko(), key, certificate, hashes.SHA256, [pkcs7.PKCS7Options.NoCapabilities])
    assert signature.parse(data)[2:] == ("sha256", "rsa")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d[-100:], "cut off: expected"),
        (lambda d: signature.MAGIC, "cut off"),
        (lambda d: d[:-38] + b"\x01" + d[-37:], "of kind 1: expected 2"),
        (lambda d: d[: len(kmods.ko())] + bytes(9) + d[len(kmods.ko()) + 9 :], "no CMS message"),
    ],
)
def test_a_signature_that_cannot_be_read(change, words):
    data = kmods.signed(kmods.ko(), *kmods.signer())
    with pytest.raises(signature.SignatureError, match=words):
        signature.parse(change(data))


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [("", bytes), (".gz", gzip.compress), (".xz", lambda d: lzma.compress(d, check=lzma.CHECK_CRC32))],
)
def test_compressed_modules(suffix, pack):
    module = facts.look(f"a/my-widget.ko{suffix}", pack(kmods.ko("my_widget")))
    assert (module.name, module.compression, module.kernel) == ("my_widget", suffix[1:], kmods.KERNEL)
    cut = facts.look(f"a/widget.ko{suffix}", pack(kmods.ko())[:-20])
    assert cut.problem.code == "truncated"


def test_zstd_by_its_program_or_with_the_reason(monkeypatch):
    program = shutil.which("zstd")
    if not program:
        pytest.skip("no program zstd: only the message is tested")
    packed = subprocess.run([program, "-q"], input=kmods.ko(), capture_output=True, check=True).stdout
    assert facts.look("a/widget.ko.zst", packed).kernel == kmods.KERNEL
    assert facts.look("a/widget.ko.zst", packed[:-30]).problem.code == "truncated"
    monkeypatch.setenv("PATH", "/nowhere")
    try:
        import compression.zstd  # noqa: F401
    except ImportError:
        problem = facts.look("a/widget.ko.zst", packed).problem
        assert problem.code == "unreadable"
        assert "no program zstd on this host; next: dnf install zstd" in problem.text


def test_what_modinfo_tells():
    more = [
        ("parm", "count:How many devices"),
        ("parmtype", "count:uint"),
        ("parm", "mode:Mode: octal"),
        ("softdep", "pre: gadget-core helper post: widget-late"),
        ("firmware", "widget/a.bin"),
        ("firmware", "widget/b.bin"),
    ]
    told = facts.as_json("opt/widget.ko", facts.look("opt/widget.ko", kmods.ko(depends="drm-core,foo", more=more)))
    assert told["parameters"] == [
        {"name": "count", "type": "uint", "description": "How many devices"},
        {"name": "mode", "type": "", "description": "Mode: octal"},
    ]
    assert told["depends"] == ["drm_core", "foo"]
    assert told["softdeps"] == {"pre": ["gadget_core", "helper"], "post": ["widget_late"]}
    assert told["firmware"] == ["widget/a.bin", "widget/b.bin"]
    assert (told["version"], told["path"], told["signed"]) == ("0.1.0", "/opt/widget.ko", False)


def test_symvers():
    text = "0x12345678\tmodule_layout\tvmlinux\tEXPORT_SYMBOL\t\n"
    text += "0x00000002\tdrm_x\tdrivers/gpu/drm/drm\tEXPORT_SYMBOL_GPL\tDRM\n"
    read = symvers.parse(gzip.compress(text.encode()))
    assert read == {"module_layout": (0x12345678, "vmlinux", False, ""), "drm_x": (2, "drm", True, "DRM")}
    for wrong, words in (
        (b"", "no line"),
        (b"0x1 a b c\n", "line 1: expected CRC"),
        (b"\x1f\x8b\x08", "gzip data end"),
    ):
        with pytest.raises(symvers.SymversError, match=words):
            symvers.parse(wrong)


# --- noise: whatever the bytes are, the answer is a Module, a Signature or a domain error.

BASES = [
    kmods.ko(depends="a", needed=["x", "y"], exported=["z"], crcs={"x": 1}, extended={"y": 2}),
    kmods.ko(wide=False, order=">", machine=kmods.I386, needed=["x"], crcs={"x": 1}),
]
SIGNED = kmods.signed(kmods.ko(), *kmods.signer())


def mangled(data, seed):
    """Some bytes changed, and perhaps the end gone."""
    noise = random.Random(seed)
    changed = bytearray(data)
    for _each in range(noise.randint(0, 8)):
        changed[noise.randrange(len(changed))] = noise.choice([0, 1, 0x7F, 0x80, 0xFF, noise.randrange(256)])
    return bytes(changed[: noise.choice([len(changed), noise.randrange(len(changed) + 1)])])


@settings(max_examples=600, deadline=None)
@given(st.integers(), st.sampled_from(range(len(BASES))))
def test_damaged_modules(seed, base):
    module = facts.look("a/widget.ko", mangled(BASES[base], seed))
    facts.as_json("a/widget.ko", module)


@settings(max_examples=600, deadline=None)
@given(st.integers())
def test_damaged_signatures(seed):
    keep = len(SIGNED) - len(signature.MAGIC)
    try:
        signature.parse(mangled(SIGNED[:keep], seed) + SIGNED[keep:])
        signature.parse(mangled(SIGNED[:keep], seed)[-500:] + SIGNED[keep - 12 :])
    except signature.SignatureError:
        pass


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes(data):
    for head in (b"", b"\x7fELF\x02\x01\x01", b"\x1f\x8b\x08\x00", b"\xfd7zXZ\x00"):
        facts.look("a/widget.ko.xz", head + data)
    try:
        signature.parse(data + signature.MAGIC)
    except signature.SignatureError:
        pass
    try:
        symvers.parse(data)
    except symvers.SymversError:
        pass


# --- against others' reading of the same

OBJECT = r"""
#define INFO(name, text) static const char name[] __attribute__((section(".modinfo"), used, aligned(1))) = text
INFO(a, "license=GPL"); INFO(b, "version=1.2"); INFO(c, "depends=drm,hid"); INFO(d, "parm=count:How many");
INFO(e, "parmtype=count:uint"); INFO(f, "firmware=w/fw.bin"); INFO(g, "vermagic=6.1.0 SMP "); INFO(h, "name=widget");
INFO(i, "softdep=pre: helper");
extern int _printk(const char *, ...);
extern int maybe(void) __attribute__((weak));
int run(void) { return _printk("x") + (maybe ? maybe() : 0); }
"""


def modinfo(path):
    """modinfo's fields, each with its values."""
    out = subprocess.run(["modinfo", "-0", str(path)], check=True, capture_output=True).stdout.decode()
    found = {}
    for line in out.split("\0"):
        key, _colon, value = line.partition(":" if line.startswith("filename") else "=" if "=" in line[:20] else ":")
        found.setdefault(key.strip(), []).append(value.strip())
    return found


def agrees(path):
    told, said = facts.as_json(str(path), facts.look(str(path), path.read_bytes())), modinfo(path)
    first = {key: values[0] for key, values in said.items()}
    for key in ("version", "srcversion", "vermagic", "license"):
        assert told[key].strip() == first.get(key, ""), (path, key)
    assert told["depends"] == [one.replace("-", "_") for one in first.get("depends", "").split(",") if one]
    assert told["firmware"] == said.get("firmware", [])
    assert {one["name"] for one in told["parameters"]} == {one.partition(":")[0] for one in said.get("parm", [])}
    assert told["signed"] == ("sig_id" in said), path
    if told["signed"]:
        assert (told["signer"], told["signature_key"]) == (first["signer"], first["sig_key"]), path
        assert told["signature_digest"] == first["sig_hashalgo"]


needs_modinfo = pytest.mark.skipif(
    not shutil.which("modinfo"), reason="no modinfo on this machine: nothing to compare with"
)


@needs_modinfo
@pytest.mark.skipif(not shutil.which("gcc"), reason="no gcc on this machine")
def test_an_object_of_the_compiler(tmp_path):
    (tmp_path / "widget.c").write_text(OBJECT)
    path = tmp_path / "widget.ko"
    subprocess.run(["gcc", "-c", "-O1", "-g", "-o", str(path), str(tmp_path / "widget.c")], check=True)
    agrees(path)
    assert facts.look("widget.ko", path.read_bytes()).elf.needed == ["_printk"]


@needs_modinfo
def test_modules_that_we_made(tmp_path):
    key, certificate = kmods.signer()
    for number, data in enumerate([kmods.ko(depends="a-b"), kmods.signed(kmods.ko(), key, certificate)]):
        path = tmp_path / f"widget{number}.ko"
        path.write_bytes(data)
        agrees(path)


@needs_modinfo
def test_modules_of_a_real_kernel():
    found = [path for folder in REAL if folder.is_dir() for path in folder.rglob("*.ko*") if path.is_file()]
    if not found:
        pytest.skip(f"no kernel modules below {', '.join(map(str, REAL))}")
    for path in sorted(found)[:: max(1, len(found) // 40)]:
        agrees(path)
