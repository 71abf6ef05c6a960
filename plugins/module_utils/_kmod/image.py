# SPDX-License-Identifier: Apache-2.0
"""The part of an image that modprobe and Kernel Module Management (KMM) look at. Pure. PRIVATE.

KMM copies ROOT/lib/modules/KERNEL and the firmware folder out of the image, and calls `modprobe -d` on the copy
(kubernetes-sigs/kernel-module-management, internal/pod/workerpodmanager.go and internal/worker/worker.go). Links
stay links, and the node's own modules are at /lib/modules and /host/lib/modules beside it (kmod_image.md of its docs).
"""

from __future__ import annotations

import fnmatch
import functools
import posixpath
import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._kmod import facts
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._oci import layers
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._oci.tar import FILE

OF_THE_NODE = ("/host/lib/modules", "/lib/modules")
DEP, INDEX = "modules.dep", "modules.dep.bin"
DEP_SIZE = 16 << 20  # bytes; a whole distribution's has 1 MB
COMPRESSED = ("", ".xz", ".zst")  # what the kernel's firmware loader tries
MOVES = 4  # links on the way to a folder


class Wanted(t.NamedTuple):
    """What the image is to have. kernel None: whatever it has. root, firmware_directory: folders in the image."""

    kernel: t.Optional[str] = None
    modules: t.Tuple[str, ...] = ()
    root: str = "/opt"
    firmware: t.Tuple[str, ...] = ()
    firmware_directory: str = "/firmware"
    host_firmware: t.Tuple[str, ...] = ()

    @property
    def base(self) -> str:
        return posixpath.normpath(posixpath.join("/", self.root, "lib/modules")).lstrip("/")


class Image:
    """Answers from the tree. Paths have no slash in front."""

    def __init__(self, tree: layers.Tree, base: str, firmware: str, layers_read: int = 0) -> None:
        self.tree, self.base, self._firmware, self.layers_read = tree, base, firmware, layers_read

    def kernels(self) -> t.List[str]:
        """Those that there is a module for."""
        found = {path[len(self.base) + 1 :].split("/")[0] for path in self._module_files(self.base)}
        return sorted(found)

    def folder(self, kernel: str) -> str:
        return f"{self.base}/{kernel}"

    def modules(self, kernel: str) -> t.Dict[str, facts.Module]:
        """Path -> what is there. A link that leads nowhere is not in it."""
        found = {path: self.module(path) for path in self._module_files(self.folder(kernel))}
        return {path: module for path, module in found.items() if module}

    def module(self, path: str) -> t.Optional[facts.Module]:
        node = self.tree.nodes.get(self.tree.resolve(path))
        return node.content if node and isinstance(node.content, facts.Module) else None

    def dependencies(self, kernel: str) -> t.Optional[t.Dict[str, t.List[str]]]:
        """What modprobe will load: the path of a module, then those of what it depends on. None without depmod.

        modprobe reads the index; the text beside it is of the same run of depmod.
        """
        node = self.tree.nodes.get(f"{self.folder(kernel)}/{DEP}")
        if node is None or node.content is None or f"{self.folder(kernel)}/{INDEX}" not in self.tree.nodes:
            return None
        folder = self.folder(kernel)
        return {
            name: [posixpath.normpath(posixpath.join("/", folder, path)).lstrip("/") for path in paths]
            for name, paths in node.content.items()
        }

    def on_node(self, path: str, kernel: str) -> bool:
        """Whether it is one of the node's own modules, which KMM's worker reaches by a link in the image."""
        target = self.tree.resolve(path)
        return any(target.startswith(f"{place}/{kernel}/") for place in OF_THE_NODE)

    def has_firmware(self, name: str) -> bool:
        """The name may be a pattern, as in the brcmfmac driver."""
        if any(mark in name for mark in "*?["):
            there = [path[len(self._firmware) + 1 :] for path in self.tree.below(self._firmware)]
            return any(fnmatch.fnmatchcase(file, name + suffix) for file in there for suffix in COMPRESSED)
        return any(self._is_file(f"{self._firmware}/{name}{suffix}") for suffix in COMPRESSED)

    def _is_file(self, path: str) -> bool:
        node = self.tree.nodes.get(self.tree.resolve(path))
        return node is not None and node.kind == FILE

    def _module_files(self, folder: str) -> t.List[str]:
        return [path for path in self.tree.below(folder) if facts.FILE.search(path)]


def firmware_wanted(wanted: Wanted, modules: t.Iterable[facts.Module]) -> t.List[str]:
    """Of what the modules ask for and the node does not have, and what is wanted in any case."""
    asked = {name for module in modules for name in module.all("firmware")}
    missing_on_node = {name for name in asked if not on_host(name, wanted.host_firmware)}
    return sorted(missing_on_node | set(wanted.firmware))


def on_host(name: str, patterns: t.Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def read(stack: t.Sequence[layers.Layer], wanted: Wanted) -> Image:
    """Reads as few layers as it takes."""
    base, firmware = wanted.base, posixpath.normpath("/" + wanted.firmware_directory).lstrip("/")
    for _move in range(MOVES):
        enough = functools.partial(_enough, wanted, base, firmware)
        tree, count = layers.read(stack, [base, firmware], _look, enough)
        moved = tree.redirected(base) or base, tree.redirected(firmware) or firmware
        if moved == (base, firmware):
            return Image(tree, base, firmware, count)
        base, firmware = moved
    raise layers.ImageError(f"/{wanted.base} or {wanted.firmware_directory}: more than {MOVES} links on the way to it")


def _look(path: str) -> t.Optional[t.Callable[[bytes], t.Any]]:
    if facts.FILE.search(path):
        return lambda data: facts.look(path, data)
    return _dependencies if posixpath.basename(path) == DEP else None


def _enough(wanted: Wanted, base: str, firmware: str, tree: layers.Tree) -> bool:
    """Whether all that modprobe will load was found, and the firmware: layers below can't change that."""
    if not wanted.kernel:
        return False
    image = Image(tree, base, firmware)
    found = image.dependencies(wanted.kernel)
    if not found or not {facts.normal(name) for name in wanted.modules} <= set(found):
        return False
    paths = {path for each in found.values() for path in each}
    modules = [image.module(path) for path in paths if not image.on_node(path, wanted.kernel)]
    there = [module for module in modules if module]
    return len(there) == len(modules) and all(map(image.has_firmware, firmware_wanted(wanted, there)))


def _dependencies(data: bytes) -> t.Dict[str, t.List[str]]:
    found = {}
    for line in data[:DEP_SIZE].decode("utf-8", "backslashreplace").splitlines():
        path, _colon, rest = line.partition(":")
        if path.strip():
            found[facts.module_name(path)] = [path.strip(), *rest.split()]
    return found


__all__ = ("Image", "Wanted", "firmware_wanted", "on_host", "read")
