# SPDX-License-Identifier: Apache-2.0
"""Whether the modules of an image would load on a kernel, and if not, why. Pure. PRIVATE.

What counts is what `modprobe -d ROOT` does (kmod, libkmod/libkmod-module.c): it finds modules, and what they depend on,
in modules.dep alone; it inserts them in that order; it passes over softdeps that it does not find. And what the kernel
checks then (kernel/module/main.c, version.c, signing.c): vermagic, machine, signature, symbols and their versions.
"""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._kmod import facts
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._kmod.image import (
    INDEX,
    Image,
    Wanted,
    firmware_wanted,
    on_host,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._kmod.symbols import symbol_findings
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._kmod.symvers import Symvers, providers
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._kmod.types import ERROR, WARNING, Finding

UNAME = {"x86_64": "amd64", "aarch64": "arm64", "i386": "386", "i686": "386", "armv7l": "arm", "loongarch64": "loong64"}


class Demands(t.NamedTuple):
    """What is asked of the image. host_modules: what the nodes have loaded or built in, as patterns."""

    wanted: Wanted
    architecture: str = ""
    require_signed: bool = False
    symvers: t.Optional[Symvers] = None
    host_modules: t.Tuple[str, ...] = ()


class Case(t.NamedTuple):
    """One kernel's folder. checked: path -> module, of all that modprobe would load."""

    image: Image
    demands: Demands
    kernel: str
    present: t.Dict[str, facts.Module]
    dependencies: t.Optional[t.Dict[str, t.List[str]]]
    checked: t.Dict[str, facts.Module]

    def finding(self, code: str, path: str, text: str, step: str, severity: str = ERROR) -> Finding:
        return Finding(code, severity, facts.module_name(path), f"/{path}", text, step)


def judge(image: Image, demands: Demands) -> t.List[Finding]:
    """All findings. Without a kernel each folder is held against the kernel that it is for."""
    kernel, there = demands.wanted.kernel, image.kernels()
    if kernel and kernel not in there:
        return [_no_folder(image, kernel, there)]
    if not there:
        return [
            Finding("absent", ERROR, "", f"/{image.base}", "there is no kernel module in it", "look at option root")
        ]
    found: t.List[Finding] = []
    for each in [kernel] if kernel else there:
        case = _case(image, demands, each)
        found += _listed(case)
        for path, module in sorted(case.checked.items()):
            found += _of_module(case, path, module)
        found += _firmware(case)
    return list(dict.fromkeys(found))


def loadable(findings: t.Iterable[Finding]) -> bool:
    return all(finding.severity != ERROR for finding in findings)


def _no_folder(image: Image, kernel: str, there: t.List[str]) -> Finding:
    text = f"expected kernel modules in /{image.folder(kernel)}, seen those for {', '.join(there) or 'no kernel'}"
    step = f"build the image for kernel {kernel}, or give the image that is for it"
    return Finding("kernel" if there else "absent", ERROR, "", f"/{image.folder(kernel)}", text, step)


def _case(image: Image, demands: Demands, kernel: str) -> Case:
    present, dependencies = image.modules(kernel), image.dependencies(kernel)
    names = {facts.normal(name) for name in demands.wanted.modules}
    paths = [path for path in present if not names or facts.module_name(path) in names]
    if dependencies is not None:
        for name in names & set(dependencies) if names else dependencies:
            paths += dependencies[name]
    checked = {path: module for path in paths if (module := image.module(path))}
    return Case(image, demands, kernel, present, dependencies, checked)


def _listed(case: Case) -> t.Iterator[Finding]:
    """Whether modprobe finds what it is asked for."""
    folder = case.image.folder(case.kernel)
    depmod = f"run `depmod -b {case.demands.wanted.root} {case.kernel}` when the image is built"
    if case.dependencies is None:
        text = f"there is no {INDEX} in it, without which modprobe finds no module"
        yield Finding("modules_dep", ERROR, "", f"/{folder}", text, depmod)
    names, known = sorted(map(facts.normal, case.demands.wanted.modules)), case.dependencies or {}
    there = {facts.module_name(path): path for path in case.present}
    for name in names or sorted({*there, *known}):
        path = known[name][0] if name in known else there.get(name, "")
        if not path or not (case.image.module(path) or case.image.on_node(path, case.kernel)):
            where = f" at /{path}, where modules.dep says that it is" if path else ""
            text = f"expected a module {name}{where}; seen {', '.join(sorted(there)) or 'none'}"
            step = "look at the module's name, and at what the build made"
            yield Finding("absent", ERROR, name, f"/{folder}", text, step)
        elif known and name not in known:
            text = "modules.dep does not name it, so modprobe does not find it"
            yield case.finding("modules_dep", path, text, depmod)


def _of_module(case: Case, path: str, module: facts.Module) -> t.Iterator[Finding]:
    if module.problem:
        yield _problem(case, path, module.problem)
    if module.elf is None:
        return
    yield from _kernel(case, path, module)
    yield from _architecture(case, path, module)
    yield from _signature(case, path, module)
    yield from _dependencies(case, path, module)
    if case.demands.symvers is not None:
        beside = {name for other in case.checked.values() if other.elf for name in other.elf.exported}
        for found in symbol_findings(module, case.demands.symvers, beside, case.demands.host_modules):
            yield case.finding(found[0], path, found[1], found[2])


def _problem(case: Case, path: str, problem: facts.Problem) -> Finding:
    text, _next, step = problem.text.partition("; next: ")
    return case.finding(problem.code, path, text, step or "build the image again, and push it again")


def _kernel(case: Case, path: str, module: facts.Module) -> t.Iterator[Finding]:
    if module.kernel == case.kernel:
        return
    text = f"it is built for kernel {module.kernel or 'unknown'}, expected {case.kernel}"
    step = f"build it against the headers of {case.kernel}"
    versions = module.elf.crcs if module.elf else {}
    # A kernel with modversions compares the versions of symbols in place of the release (same_magic in version.c).
    fits = (
        case.demands.symvers is not None
        and bool(versions)
        and all(
            name in case.demands.symvers and case.demands.symvers[name].crc == crc for name, crc in versions.items()
        )
    )
    yield case.finding("kernel", path, text, step, WARNING if fits else ERROR)


def _architecture(case: Case, path: str, module: facts.Module) -> t.Iterator[Finding]:
    wanted = UNAME.get(case.demands.architecture, case.demands.architecture)
    seen = module.elf.architecture if module.elf else ""
    if wanted and seen != wanted:
        text = f"it is built for architecture {seen}, expected {wanted}"
        yield case.finding("architecture", path, text, f"build it on, or cross-compile it for, {wanted}")


def _signature(case: Case, path: str, module: facts.Module) -> t.Iterator[Finding]:
    if case.demands.require_signed and module.signature is None and module.problem is None:
        text = "it is not signed, and a signature is demanded, as kernels with Secure Boot do"
        yield case.finding("unsigned", path, text, "sign it with the kernel's scripts/sign-file, after it was stripped")


def _dependencies(case: Case, path: str, module: facts.Module) -> t.Iterator[Finding]:
    """A dependency is there if modules.dep leads modprobe to it, or if the node has it loaded or built in already."""
    listed = (case.dependencies or {}).get(module.name, [])[1:]
    paths = {facts.module_name(one): one for one in listed}
    for name in module.depends:
        if on_host(name, case.demands.host_modules) or _built_in(case, module, name):
            continue
        one = paths.get(name)
        if one and (case.image.module(one) or case.image.on_node(one, case.kernel)):
            continue
        yield case.finding("dependency", path, *_missing(case, name, one))
    known = {*(case.dependencies or {}), *(facts.module_name(one) for one in case.present)}
    for name in (*module.softdeps()["pre"], *module.softdeps()["post"]):
        if name not in known and not on_host(name, case.demands.host_modules):
            text = f"its soft dependency {name} is not in the image, so modprobe passes over it"
            yield case.finding(
                "softdep", path, text, f"add {name}.ko if the nodes do not load it by themselves", WARNING
            )


def _built_in(case: Case, module: facts.Module, name: str) -> bool:
    """By the kernel's symvers: all that it needs is exported by others than this module."""
    symvers, needed = case.demands.symvers or {}, module.elf.needed if module.elf else []
    return bool(needed) and all(symbol in symvers and symvers[symbol].module != name for symbol in needed)


def _missing(case: Case, name: str, listed: t.Optional[str]) -> t.Tuple[str, str]:
    """Text and next step."""
    beside = next((path for path in case.present if facts.module_name(path) == name), None)
    host = f"/host/lib/modules/{case.kernel}"
    step = (
        f"add {name}.ko to the image; if it is one of the kernel's own, link {host} into the image's folder before "
        "depmod runs; if the nodes have it loaded, name it in host_modules"
    )
    if listed:
        return f"it depends on {name}, which modules.dep names at /{listed}, where there is no module", step
    if beside:
        depmod = f"run `depmod -b {case.demands.wanted.root} {case.kernel}` after the last module was copied"
        return f"it depends on {name}, which is at /{beside}, but modules.dep does not say so", depmod
    own = ", one of the kernel's own modules" if name in providers(case.demands.symvers or {}) else ""
    return f"it depends on {name}{own}, which is not in the image", step


def _firmware(case: Case) -> t.Iterator[Finding]:
    wanted = case.demands.wanted
    for name in firmware_wanted(wanted, case.checked.values()):
        if case.image.has_firmware(name):
            continue
        path = next((path for path, module in case.checked.items() if name in module.all("firmware")), "")
        user = facts.module_name(path)
        place = f"{wanted.firmware_directory.rstrip('/')}/{name}"
        text = f"{f'module {user} asks for' if path else 'expected'} firmware {name}, and the image has no {place}"
        step = "add the file to the image (driver.firmware of a definition)"
        if name not in wanted.firmware:
            step += ", or name it in host_firmware if the nodes have it in /lib/firmware"
        yield Finding("firmware", ERROR, user, f"/{path}" if path else "", text, step)


__all__ = ("Demands", "judge", "loadable")
