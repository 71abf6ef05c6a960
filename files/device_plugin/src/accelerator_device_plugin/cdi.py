# SPDX-License-Identifier: Apache-2.0
"""The Container Device Interface: a spec file tells the container runtime what belongs to a device.

The kubelet then gets names only. Needs containerd 1.7 or CRI-O 1.23, with CDI on.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable
from pathlib import Path

from .discovery import Device
from .files import write_whole

_log = logging.getLogger(__name__)
_VERSION = "0.6.0"  # of the specification; the first that lets a class have dots, as resources may
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.:-]*[A-Za-z0-9])?")


def name(device_id: str) -> str:
    """The device's name in CDI: its ID, if that is allowed there."""
    if _NAME.fullmatch(device_id):
        return device_id
    return "x" + hashlib.sha256(device_id.encode(errors="surrogateescape")).hexdigest()[:16]


def spec(resource: str, devices: Iterable[Device], permissions: str) -> bytes:
    """`resource` is the kind: vendor and class, as in domain/name."""
    page = {
        "cdiVersion": _VERSION,
        "kind": resource,
        "devices": [
            {
                "name": name(device.id),
                "containerEdits": {"deviceNodes": [{"path": device.path, "permissions": permissions}]},
            }
            for device in devices
        ],
    }
    return json.dumps(page, indent=1).encode() + b"\n"


class SpecFile:
    """Says what it cannot do once, and does it when asked the next time."""

    def __init__(self, folder: Path, resource: str, permissions: str) -> None:
        self.path = folder / f"{resource.replace('/', '_')}.json"
        self._resource = resource
        self._permissions = permissions
        self._written = b""
        self._complaint = ""

    def write(self, devices: Iterable[Device]) -> None:
        content = spec(self._resource, devices, self._permissions)
        if content == self._written and self.path.exists():
            return
        try:
            write_whole(self.path, content, mode=0o644)
        except OSError as error:
            if error.strerror != self._complaint:
                _log.warning(
                    "cannot write %s: %s; containers get no new devices until then; see `df %s` on the node",
                    self.path,
                    error.strerror,
                    self.path.parent,
                )
            self._complaint = error.strerror or ""
            return
        self._written, self._complaint = content, ""
