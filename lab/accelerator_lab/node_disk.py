# SPDX-License-Identifier: Apache-2.0
"""The disks that all nodes have in common: Debian with containerd, and the Kubernetes binaries."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

from . import binaries, cache, debian, disk, images
from .progress import step

PACKAGES = (
    "systemd-sysv",
    "udev",
    "kmod",
    "containerd",
    "runc",
    "containernetworking-plugins",
    "iptables",
    "iproute2",
    "openssh-server",
    "procps",
    "python3",
)
SIZE = 16384  # megabytes; the file is sparse
NODE = cache.LAB / "node"


def root() -> Path:
    """The root disk that each node's own one is laid over."""
    base = images.base()
    sources = [NODE / "prepare", *sorted(path for path in (NODE / "files").rglob("*") if path.is_file())]

    def make(folder: Path) -> None:
        with step("building the nodes' root disk"):
            prepare = f'{shlex.quote(str(NODE / "prepare"))} "$1" {shlex.quote(str(base))}'
            debian.tree(folder / "tree", PACKAGES, hooks=(prepare,))
            disk.ext4(folder / "root.img", folder / "tree", SIZE)
            cache.remove_tree(folder / "tree")

    named = [str(path.relative_to(NODE)) for path in sources]
    key = cache.content_key(debian.SUITE, base.name, *PACKAGES, *named, *sources)
    return cache.produce("disks", f"root-{key}", make) / "root.img"


def kubernetes() -> Path:
    """A disk with kubelet and kube-proxy. Apart from the root disk, which can so be made while these compile."""
    built = binaries.built(binaries.KUBERNETES)

    def make(folder: Path) -> None:
        tree = folder / "tree"
        tree.mkdir()
        for name in ("kubelet", "kube-proxy"):
            shutil.copy(built / name, tree / name)
        disk.ext4(folder / "kubernetes.img", tree, 256)
        cache.remove_tree(tree)

    return cache.produce("disks", built.name, make) / "kubernetes.img"
