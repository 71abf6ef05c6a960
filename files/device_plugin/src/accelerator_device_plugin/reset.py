# SPDX-License-Identifier: Apache-2.0
"""Resets a device before the next container gets it, by the attribute that its driver has for that."""

from __future__ import annotations

import os
from pathlib import Path

from .discovery import Device
from .evidence import folder

BOUND = 20.0  # seconds for a device; the kubelet gives all of PreStartContainer 30


def reset(root: Path, sysfs: Path, attribute: str, device: Device) -> str:
    """Why the device was not reset; empty if it was. Takes as long as its driver does: see `bounded.py`."""
    try:
        path = f"{folder(sysfs, os.stat(f'{root}{device.path}').st_rdev)}/{attribute}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, b"1")
        finally:
            os.close(descriptor)
    except OSError as error:
        return f"{attribute}: {error.strerror}"
    return ""
