# SPDX-License-Identifier: Apache-2.0
"""A node's kernel: image, initial file system and a disk with its modules, from a Debian kernel package.

It is kept apart from the node's root disk, so that the same node can be started again with another kernel.
"""

from __future__ import annotations

import lzma
import shutil
from dataclasses import dataclass
from pathlib import Path

from . import cache, debian, disk, images
from .errors import LabError
from .progress import step
from .run import tool

DEFAULT = "linux-image-amd64"
BOOT_MODULES = ("virtio_pci", "virtio_blk", "ext4", "crc32c_generic")
INIT = cache.LAB / "node" / "init"


@dataclass(frozen=True)
class Kernel:
    """The files of a kernel; version is what uname -r says."""

    folder: Path

    @property
    def version(self) -> str:
        return (self.folder / "version").read_text().strip()

    @property
    def image(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd"

    @property
    def modules(self) -> Path:
        return self.folder / "modules.img"


def built(package: str = DEFAULT) -> Kernel:
    """The kernel of a package such as linux-image-6.12-amd64."""
    key = cache.content_key(package, debian.SUITE, INIT, " ".join(BOOT_MODULES))

    def make(folder: Path) -> None:
        with step(f"fetching kernel {package}"):
            work = folder / "tree"
            debian.tree(work, [package, "busybox-static"], variant="extract")
            assemble(work, folder)
            cache.remove_tree(work)
        # From the same day's archive: a kernel without its headers, which the archive has no more, would be of no use.
        images.toolkit(Kernel(folder).version)

    return Kernel(cache.produce("kernels", f"{package}-{key}", make))


def assemble(tree: Path, folder: Path) -> None:
    """Fills a Kernel's folder from the unpacked packages."""
    versions = sorted(path.name for path in (tree / "lib" / "modules").iterdir())
    if len(versions) != 1:
        raise LabError(f"expected one kernel in the package, found {versions}. Type: apt-cache search '^linux-image-'")
    version = versions[0]
    (folder / "version").write_text(f"{version}\n")
    shutil.copy(tree / "boot" / f"vmlinuz-{version}", folder / "vmlinuz")
    tool(["depmod", "-b", tree, version])
    modules = tree / "lib" / "modules"
    (folder / "initrd").write_bytes(initrd(modules / version, tree / "bin" / "busybox"))
    used = sum(path.stat().st_size for path in modules.rglob("*") if path.is_file())
    disk.ext4(folder / "modules.img", modules, used * 13 // 10 // 2**20 + 64)


def load_order(modules_dep: str, names: tuple[str, ...]) -> list[str]:
    """Paths of modules and of all that they need, each after what it needs. The text is depmod's modules.dep."""
    needs = {}
    for line in modules_dep.splitlines():
        path, _, rest = line.partition(":")
        needs[path] = rest.split()
    by_name = {Path(path).name.partition(".")[0].replace("-", "_"): path for path in needs}
    order: list[str] = []
    for name in names:
        if name not in by_name:
            continue  # built into this kernel
        # depmod lists what a module needs, the closest first: loading goes the other way.
        order += [path for path in [*reversed(needs[by_name[name]]), by_name[name]] if path not in order]
    return order


def plain(module: Path) -> bytes:
    """A module's bytes. Debian compresses them since Linux 6.12, and busybox does not read that."""
    data = module.read_bytes()
    return lzma.decompress(data) if module.suffix == ".xz" else data


def initrd(modules: Path, busybox: Path) -> bytes:
    order = load_order((modules / "modules.dep").read_text(), BOOT_MODULES)
    return disk.cpio(
        [
            *(disk.Entry(name) for name in ("bin", "dev", "modules", "root")),
            disk.Entry("init", INIT.read_bytes(), executable=True),
            disk.Entry("bin/busybox", busybox.read_bytes(), executable=True),
            *(
                disk.Entry(f"modules/{number:02d}-{Path(path).name.removesuffix('.xz')}", plain(modules / path))
                for number, path in enumerate(order)
            ),
        ]
    )
