# SPDX-License-Identifier: Apache-2.0
"""Looks at device nodes. Opens none unless told to: most pods may not, and opening may disturb."""

from __future__ import annotations

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
    """One look at a device. May take as long as its driver takes to answer: see `bounded.py`."""
    node = sources.root / device.path.lstrip("/")
    try:
        status = node.stat()
    except OSError:
        return Evidence(exists=False)
    if not stat.S_ISCHR(status.st_mode):
        return Evidence(exists=True)
    folder = _folder(sources.sysfs, status.st_rdev)
    word, word_error = _read(folder, sources.health_file)
    return Evidence(
        exists=True,
        character=True,
        name=os.path.relpath(os.path.realpath(node), os.path.realpath(sources.root / "dev")),
        kernel_name=_kernel_name(folder),
        serial=_read(folder, sources.serial_file)[0] or None,
        numa=numa_node(sources.sysfs, folder),
        word=word,
        word_error=word_error,
        probe_error=_probe(node, probed) if sources.probe else None,
    )


def health_file(sources: Sources, device: Device) -> Path | None:
    """The file whose change is news of this device, if it is there."""
    if not sources.health_file:
        return None
    try:
        number = (sources.root / device.path.lstrip("/")).stat().st_rdev
    except OSError:
        return None
    path = _folder(sources.sysfs, number) / sources.health_file
    return path if path.exists() else None


def numa_node(sysfs: Path, folder: Path) -> int | None:
    """The NUMA node of the nearest device on the way up that knows one; -1 means that it does not."""
    top, here = sysfs.resolve(), folder.resolve()
    while here != top and top in here.parents:
        try:
            number = int((here / "numa_node").read_text())
        except (OSError, ValueError):
            number = -1
        if number >= 0:
            return number
        here = here.parent
    return None


def _folder(sysfs: Path, number: int) -> Path:
    return sysfs / f"dev/char/{os.major(number)}:{os.minor(number)}"


def _kernel_name(folder: Path) -> str | None:
    try:
        lines = (folder / "uevent").read_text(errors="replace").splitlines()
    except OSError:
        return None
    return next((line.partition("=")[2] for line in lines if line.startswith("DEVNAME=")), None)


def _read(folder: Path, name: str) -> tuple[str | None, str | None]:
    """The content of an attribute, or why there is none; neither when none is wanted."""
    if not name:
        return None, None
    try:
        with (folder / name).open("rb") as file:
            return file.read(_MOST).decode(errors="replace").strip(), None
    except OSError as error:
        return None, f"{name}: {error.strerror}"


def _probe(node: Path, probed: Callable[[float], None]) -> str | None:
    start = time.monotonic()
    try:
        os.close(os.open(node, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY))
    except OSError as error:
        return f"open: {error.strerror}"
    finally:
        probed(time.monotonic() - start)
    return None
