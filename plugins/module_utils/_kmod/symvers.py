# SPDX-License-Identifier: Apache-2.0
"""A kernel's Module.symvers: what it exports, with versions. Pure. PRIVATE.

A line: CRC, symbol, who exports it (vmlinux, or a module's path without .ko), how, and the namespace if it has one.
"""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._kmod.facts import module_name
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._oci.streams import StreamError, unpack

LIMIT = 64 << 20  # bytes; a distribution's has 2 MB
BUILT_IN = "vmlinux"


class SymversError(Exception):
    """It is no Module.symvers. The text is for the user."""


class Export(t.NamedTuple):
    crc: int
    module: str
    gpl_only: bool
    namespace: str


Symvers = t.Dict[str, Export]


def parse(data: bytes) -> Symvers:
    """May be compressed, as in /boot/symvers-*.gz."""
    try:
        text = unpack(data, LIMIT, "it").decode("utf-8", "backslashreplace")
    except StreamError as error:
        raise SymversError(str(error)) from None
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split("\t")
        try:
            crc, symbol, module, how = int(fields[0], 16), fields[1], fields[2], fields[3]
        except (IndexError, ValueError):
            raise SymversError(
                f"line {number}: expected CRC, symbol, module and kind, separated by tabs; seen {line[:80]!r}"
            ) from None
        namespace = fields[4] if len(fields) > 4 else ""
        found[symbol] = Export(crc, module_name(module), "GPL" in how, namespace)
    if not found:
        raise SymversError("it has no line: expected what the kernel exports")
    return found


def providers(symvers: Symvers) -> t.Set[str]:
    return {export.module for export in symvers.values()}


__all__ = ("BUILT_IN", "Export", "Symvers", "SymversError", "parse", "providers")
