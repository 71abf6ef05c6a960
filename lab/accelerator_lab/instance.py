# SPDX-License-Identifier: Apache-2.0
"""One lab: its folder, its nodes and what was chosen for them. What runs is processes.py's to say."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from . import cache, control_plane, kernel, ports
from .errors import LabError
from .processes import running
from .progress import say

SOCKET_ROOM = 30  # characters that ssh adds to a folder's path for its socket; the kernel allows 107 in all
MAX_NODES = 9


@dataclass(frozen=True)
class Node:
    """A virtual machine. number: 1 for the first one; kernel: the Debian package it was last started with."""

    number: int
    kernel: str = kernel.DEFAULT

    @property
    def name(self) -> str:
        return f"node-{self.number}"

    @property
    def address(self) -> str:
        """In the user-mode network, of which each node has its own: only so that no two nodes report the same."""
        return f"10.0.2.{20 + self.number}"

    @property
    def pod_range(self) -> str:
        return f"10.244.{self.number}.0/24"


@dataclass(frozen=True)
class Instance:
    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def plane(self) -> control_plane.ControlPlane:
        return control_plane.of(self.folder)

    @property
    def nodes(self) -> list[Node]:
        file = self.folder / "nodes.json"
        return [Node(**entry) for entry in json.loads(file.read_text())] if file.exists() else []

    def save(self, nodes: list[Node]) -> None:
        text = json.dumps([asdict(node) for node in nodes], indent=1)
        cache.write_whole(self.folder / "nodes.json", text.encode())

    def node(self, name: str) -> Node:
        for node in self.nodes:
            if node.name == name:
                return node
        known = ", ".join(node.name for node in self.nodes) or "none"
        raise LabError(f"lab {self.name}: no node {name}; there are: {known}. Type: lab/lab status")

    def with_kernel(self, node: Node, package: str) -> Node:
        changed = replace(node, kernel=package)
        self.save([changed if other.number == node.number else other for other in self.nodes])
        return changed

    @property
    def ports(self) -> dict[str, int]:
        """Of the registry and, by <node>.ssh and <node>.kubelet, of what a node's QEMU forwards."""
        return ports.read(self.folder / "ports.json")

    def assign_ports(self) -> None:
        names = ["registry", *(f"{node.name}.{what}" for node in self.nodes for what in ("ssh", "kubelet"))]
        live = {process.name for process in running(self.folder)}
        in_use = [name for name in names if name.partition(".")[0] in live]
        ports.assign(self.folder / "ports.json", self.name, names, in_use)

    @property
    def registry(self) -> str:
        return f"localhost:{self.ports['registry']}"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One command at a time changes a lab."""
        lock = cache.root() / "locks" / f"instance-{self.name}"
        with cache.locked(lock, lambda: say(f"another command changes lab {self.name}: waiting. Who: fuser -v {lock}")):
            yield


def chosen(name: str | None = None) -> Instance:
    """The lab of this name, or of LAB_INSTANCE, or the default one. It may not exist yet."""
    name = name or os.environ.get("LAB_INSTANCE") or "default"
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?", name):
        raise LabError(f"lab {name!r}: expected a name of at most 20 lower-case letters, digits and dashes")
    folder = cache.root() / "instances" / name
    if len(str(folder)) > 107 - SOCKET_ROOM:
        raise LabError(f"{folder}: too long for the sockets in it. Type: export XDG_CACHE_HOME=/var/tmp/cache")
    return Instance(folder)


def existing(name: str | None = None) -> Instance:
    lab = chosen(name)
    if not lab.nodes:
        raise LabError(f"lab {lab.name} is not up. Type: lab/lab up")
    return lab
