# SPDX-License-Identifier: Apache-2.0
"""The symbols of a module against a kernel's Module.symvers, as the kernel resolves them. Pure. PRIVATE.

kernel/module/main.c (resolve_symbol), version.c (check_version), include/linux/license.h.
"""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._kmod import facts
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._kmod.image import on_host
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._kmod.symvers import Symvers, providers

GPL = {"GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"}
SHOWN = 5

Mismatch = t.Dict[str, t.Any]
Problem = t.Tuple[str, str, str]  # code, text, next


def crc_mismatches(module: facts.Module, symvers: Symvers) -> t.List[Mismatch]:
    """Symbols that this kernel has in another version than the module was built with."""
    if module.elf is None or not any(export.crc for export in symvers.values()):
        return []  # a kernel without modversions has zeros
    return [
        {"symbol": name, "module": f"0x{crc:08x}", "kernel": f"0x{symvers[name].crc:08x}"}
        for name, crc in sorted(module.elf.crcs.items())
        if name in symvers and symvers[name].crc != crc
    ]


def symbol_findings(
    module: facts.Module, symvers: Symvers, beside: t.AbstractSet[str], host_modules: t.Iterable[str]
) -> t.Iterator[Problem]:
    """beside: what the image's own modules export."""
    build = "build it against the headers of the very kernel that the Module.symvers is of"
    differ = [found["symbol"] for found in crc_mismatches(module, symvers)]
    if differ:
        yield "crc", f"the kernel has other versions of {_few(differ)} than it was built with", build
    needed = module.elf.needed if module.elf else []
    missing = [name for name in needed if name not in symvers and name not in beside]
    if missing and not _elsewhere(module, symvers, host_modules):
        yield "symbol", f"neither the kernel nor the image exports {_few(missing)}", build
    exports = {name: symvers[name] for name in needed if name in symvers and name not in beside}
    if module.first("license") not in GPL:
        closed = [name for name, export in exports.items() if export.gpl_only]
        if closed:
            own = module.first("license") or "none"
            text = f"its license is {own}, and the kernel gives {_few(closed)} to GPL modules only"
            yield "license", text, "use other symbols, or another license"
    spaces = {export.namespace for export in exports.values() if export.namespace} - set(module.all("import_ns"))
    if spaces:
        names = _few(sorted(spaces))
        text = f"it uses symbols of the namespaces {names} without importing these"
        yield "namespace", text, f"add MODULE_IMPORT_NS for {names} to its source"


def _elsewhere(module: facts.Module, symvers: Symvers, host_modules: t.Iterable[str]) -> bool:
    """Whether the node has a module, not of the kernel's own, that may export what is missing."""
    own = providers(symvers)
    return any(name not in own and on_host(name, host_modules) for name in module.depends)


def _few(names: t.Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


__all__ = ("crc_mismatches", "symbol_findings")
