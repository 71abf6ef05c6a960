# SPDX-License-Identifier: Apache-2.0
"""Which devices a glob names. Pure: the answer depends on the folder given as root and on nothing else."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_WILDCARD = re.compile(r"[*?]|\[[^\]]+\]")


@dataclass(frozen=True)
class Device:
    """A device node as the node knows it: `path` is the node's path, not the one below our root."""

    id: str
    path: str


def discover(root: Path, pattern: str) -> list[Device]:
    """The devices below `root` that match `pattern` (an absolute path on the node), 2 before 10.

    A name that is no UTF-8 cannot be told to a kubelet, which would then hear of no device at all.
    """
    paths = (f"/{found}" for found in glob.glob(pattern.lstrip("/"), root_dir=root) if _is_utf8(found))
    return in_order(Device(device_id(pattern, path), path) for path in paths)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def device_id(pattern: str, path: str) -> str:
    """The part of `path` that the pattern leaves open (`/dev/x-*`, `/dev/x-3`: `3`), else its name."""
    wildcards = list(_WILDCARD.finditer(pattern))
    if not wildcards:
        return Path(path).name
    before, after = wildcards[0].start(), len(pattern) - wildcards[-1].end()
    return path[before : len(path) - after].replace("/", "_") or Path(path).name


def in_order(devices: Iterable[Device]) -> list[Device]:
    """Sorted by ID, numbers within it by their value."""

    def key(device: Device) -> list[tuple[str, int, str]]:
        return [(text, len(number), number) for text, number in re.findall(r"(\D*)(\d*)", device.id)]

    return sorted(devices, key=key)


def folders(root: Path, pattern: str) -> list[Path]:
    """The existing folders in which a change can add or remove a device: all that the pattern passes."""
    parts = pattern.strip("/").split("/")[:-1]
    reached = ("/".join(parts[:depth]) for depth in range(1, len(parts) + 1))
    return [root / found for partial in reached for found in glob.glob(partial, root_dir=root)] or [root]
