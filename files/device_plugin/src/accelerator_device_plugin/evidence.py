# SPDX-License-Identifier: Apache-2.0
"""Looks at device nodes. Opens none unless told to: most pods may not, and opening may disturb."""

from __future__ import annotations

import functools
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .discovery import Device
from .health import Evidence

_MOST = 4096  # bytes of a sysfs attribute: a page


@dataclass(frozen=True)
class Sources:
    """Where evidence is. File names are relative to the device's folder in sysfs; empty: none."""

    root: Path
    sysfs: Path
    health_file: str = ""
    serial_file: str = ""
    probe: bool = False  # opens the device and closes it again


def observe(
    sources: Sources, device: Device, probed: Callable[[float], None] = lambda seconds: None
) -> Evidence:
    """One look at a device. May take as long as its driver takes to answer: see `bounded.py`.

    Written with plain strings and descriptors: a node with 1,000 devices has it done so often for each event.
    """
    node = f"{sources.root}{device.path}"
    try:
        status = os.stat(node)
    except OSError:
        return Evidence(exists=False)
    if not stat.S_ISCHR(status.st_mode):
        return Evidence(exists=True)
    place = folder(sources.sysfs, status.st_rdev)
    word, word_error = _read(place, sources.health_file)
    return Evidence(
        exists=True,
        character=True,
        name=_name(sources.root, node, device.path),
        kernel_name=_kernel_name(place),
        serial=_read(place, sources.serial_file)[0] or None,
        # The time tells a node from one that was made anew with the same number.
        numa=_numa_node(sources.sysfs, place, status.st_ctime_ns),
        word=word,
        word_error=word_error,
        probe_error=_probe(node, probed) if sources.probe else None,
    )


def health_file(sources: Sources, device: Device) -> str | None:
    """The file whose change is news of this device; it need not be there."""
    if not sources.health_file:
        return None
    try:
        number = os.stat(f"{sources.root}{device.path}").st_rdev
    except OSError:
        return None
    return f"{folder(sources.sysfs, number)}/{sources.health_file}"


def numa_node(sysfs: Path, place: Path) -> int | None:
    """The NUMA node of the nearest device on the way up that knows one; -1 means that it does not."""
    top, here = sysfs.resolve(), place.resolve()
    while here != top and top in here.parents:
        try:
            number = int((here / "numa_node").read_text())
        except (OSError, ValueError):
            number = -1
        if number >= 0:
            return number
        here = here.parent
    return None


@functools.lru_cache(maxsize=4096)
def _numa_node(sysfs: Path, place: str, made_at: int) -> int | None:
    """Remembered, since no device changes its place while its node is there."""
    return numa_node(sysfs, Path(place))


def _name(root: Path, node: str, path: str) -> str:
    """The node's name below /dev, of what a link leads to."""
    name = path.partition("/dev/")[2]
    if "/" not in name and not os.path.islink(node):
        return name
    return os.path.relpath(os.path.realpath(node), os.path.realpath(root / "dev"))


def folder(sysfs: Path, number: int) -> str:
    """The device's own, by the number of its node."""
    return f"{sysfs}/dev/char/{os.major(number)}:{os.minor(number)}"


def _kernel_name(place: str) -> str | None:
    text, _error = _read(place, "uevent")
    lines = (text or "").splitlines()
    return next((line.partition("=")[2] for line in lines if line.startswith("DEVNAME=")), None)


def _read(place: str, name: str) -> tuple[str | None, str | None]:
    """The content of an attribute, or why there is none; neither when none is wanted."""
    if not name:
        return None, None
    try:
        descriptor = os.open(f"{place}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(descriptor, _MOST).decode(errors="replace").strip(), None
        finally:
            os.close(descriptor)
    except OSError as error:
        return None, f"{name}: {error.strerror}"


def _probe(node: str, probed: Callable[[float], None]) -> str | None:
    start = time.monotonic()
    try:
        os.close(os.open(node, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY))
    except OSError as error:
        return f"open: {error.strerror}"
    finally:
        probed(time.monotonic() - start)
    return None
