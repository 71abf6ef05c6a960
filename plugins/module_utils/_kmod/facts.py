# SPDX-License-Identifier: Apache-2.0
"""What one kernel module file says of itself. Pure. PRIVATE."""

from __future__ import annotations

import posixpath
import re
import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._kmod import elf, signature
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._oci import streams

FILE = re.compile(r"\.ko(\.(?:gz|xz|zst))?$")
UNPACKED = 512 << 20  # bytes of a module without its compression
LISTED = 2000  # parameters or firmware files of one module

Json = t.Dict[str, t.Any]


class Problem(t.NamedTuple):
    """Why a file could not be read: truncated, unreadable, signature. The text may have a next step."""

    code: str
    text: str


class Module(t.NamedTuple):
    """One file. Of a problem of the kind truncated or unreadable follows that nothing else is known."""

    name: str
    size: int
    compression: str
    problem: t.Optional[Problem]
    signature: t.Optional[signature.Signature]
    elf: t.Optional[elf.Elf]

    def first(self, key: str) -> str:
        return next(iter(self.all(key)), "")

    def all(self, key: str) -> t.List[str]:
        return [value for name, value in (self.elf.modinfo if self.elf else []) if name == key][:LISTED]

    @property
    def kernel(self) -> str:
        return self.first("vermagic").partition(" ")[0]

    @property
    def depends(self) -> t.List[str]:
        return [normal(name) for name in self.first("depends").split(",") if name]

    def softdeps(self) -> t.Dict[str, t.List[str]]:
        """The words after pre: and post:, of every softdep."""
        found: t.Dict[str, t.List[str]] = {"pre": [], "post": []}
        for text in self.all("softdep"):
            kind = ""
            for word in text.split():
                if word in ("pre:", "post:"):
                    kind = word[:-1]
                elif kind:
                    found[kind].append(normal(word))
        return found

    def parameters(self) -> t.List[Json]:
        types = dict(_pair(text) for text in self.all("parmtype"))
        texts = dict(_pair(text) for text in self.all("parm"))
        return [
            {"name": name, "type": types.get(name, ""), "description": texts.get(name, "")}
            for name in sorted({**types, **texts})
        ]


def normal(name: str) -> str:
    """Modules are told apart without regard to - and _, as modprobe does."""
    return name.strip().replace("-", "_")


def module_name(path: str) -> str:
    return normal(FILE.sub("", posixpath.basename(path)))


def look(path: str, data: bytes) -> Module:
    compressed = FILE.search(path)
    compression = (compressed.group(1) or "") if compressed else ""
    name, size = module_name(path), len(data)
    signed, problem = None, None
    try:
        data = streams.unpack(data, UNPACKED, "it")
        try:
            signed = signature.parse(data)
        except signature.SignatureError as error:
            problem = Problem("signature", str(error))
        read = elf.parse(data)
    except (streams.Damaged, elf.Truncated) as error:
        return Module(name, size, compression[1:], Problem("truncated", str(error)), signed, None)
    except (streams.StreamError, elf.ElfError) as error:
        return Module(name, size, compression[1:], Problem("unreadable", str(error)), signed, None)
    return Module(name, size, compression[1:], problem, signed, read)


def as_json(path: str, module: Module) -> Json:
    """What the Ansible module returns of it."""
    signed = module.signature
    return {
        "name": module.name,
        "path": f"/{path}",
        "size": module.size,
        "compression": module.compression,
        "version": module.first("version"),
        "srcversion": module.first("srcversion"),
        "vermagic": module.first("vermagic"),
        "kernel": module.kernel,
        "architecture": module.elf.architecture if module.elf else "",
        "license": module.first("license"),
        "signed": signed is not None,
        "signer": signed.signer if signed else "",
        "signature_key": signed.key if signed else "",
        "signature_digest": signed.digest if signed else "",
        "signature_algorithm": signed.algorithm if signed else "",
        "parameters": module.parameters(),
        "depends": module.depends,
        "softdeps": module.softdeps(),
        "firmware": module.all("firmware"),
        "has_crcs": bool(module.elf and module.elf.crcs),
    }


def _pair(text: str) -> t.Tuple[str, str]:
    name, _colon, rest = text.partition(":")
    return name, rest


__all__ = ("Module", "Problem", "as_json", "look", "module_name", "normal")
