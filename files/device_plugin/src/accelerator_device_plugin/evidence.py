# SPDX-License-Identifier: Apache-2.0
"""Looks at device nodes without opening them: an unprivileged pod may not, and opening may disturb them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from .discovery import Device
from .health import Evidence


def observe(root: Path, sysfs: Path, device: Device) -> Evidence:
    node = root / device.path.lstrip("/")
    try:
        status = node.stat()
    except OSError:
        return Evidence(exists=False)
    if not stat.S_ISCHR(status.st_mode):
        return Evidence(exists=True)
    number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    name = os.path.relpath(os.path.realpath(node), os.path.realpath(root / "dev"))
    return Evidence(exists=True, character=True, name=name, kernel_name=_kernel_name(sysfs, number))


def _kernel_name(sysfs: Path, number: str) -> str | None:
    try:
        lines = (sysfs / "dev/char" / number / "uevent").read_text().splitlines()
    except OSError:
        return None
    return next((line.partition("=")[2] for line in lines if line.startswith("DEVNAME=")), None)
