# SPDX-License-Identifier: Apache-2.0
"""Devices that behave like files of bounded size, and how a container learns which are its own."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass


class DeviceError(Exception):
    """Which device, what was tried, what was seen, what to do next."""


@dataclass(frozen=True)
class Device:
    path: str

    @property
    def name(self) -> str:
        return os.path.basename(self.path)

    def size(self) -> int:
        """How many bytes the device holds now."""
        with self._opened(os.O_RDONLY) as file:
            return os.lseek(file, 0, os.SEEK_END)

    def read(self, count: int, offset: int = 0) -> bytes:
        """Up to `count` bytes; fewer only at the end of what the device holds."""
        data = b""
        with self._opened(os.O_RDONLY) as file:
            while len(data) < count and (piece := os.pread(file, count - len(data), offset + len(data))):
                data += piece
        return data

    def write(self, data: bytes, offset: int | None = None) -> int:
        """Replaces the content, or with an offset a part of it; returns how many bytes fitted."""
        done = 0
        with self._opened(os.O_WRONLY | (os.O_TRUNC if offset is None else 0)) as file:
            while done < len(data):
                try:
                    wrote = os.pwrite(file, data[done:], (offset or 0) + done)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    break
                if not wrote:  # some drivers say so that they are full
                    break
                done += wrote
        return done

    @contextlib.contextmanager
    def _opened(self, flags: int) -> Iterator[int]:
        try:
            file = os.open(self.path, flags | os.O_CLOEXEC)
            try:
                yield file
            finally:
                os.close(file)
        except OSError as error:
            hint = _HINTS.get(
                error.errno or 0, "see /devices of the device plugin on this node, and the node's dmesg"
            )
            raise DeviceError(f"{self.name} ({self.path}): {error.strerror}; {hint}") from error


_GONE = "is the driver still loaded? Delete the pod to get another device"
_HINTS = {
    errno.ENOENT: f"the device node has gone: {_GONE}",
    errno.EACCES: f"uid {os.getuid()}, gid {os.getgid()} may not: see the driver's parameter `mode`",
    errno.EPERM: "the device cgroup forbids it: does the container ask for the resource in resources.limits?",
    errno.ENXIO: f"no driver behind the device node: {_GONE}",
}


def allocated(environment: Mapping[str, str], prefix: str | None) -> list[Device]:
    """The devices that the device plugin gave to this container: variables PREFIX_<id>=/dev/…

    Without a prefix, all variables of that form with any prefix.
    """
    wanted = f"{prefix}_" if prefix else ""
    found = {
        path
        for name, path in environment.items()
        if name.startswith(wanted) and "_" in name and path.startswith("/dev/")
    }
    return [Device(path) for path in sorted(found, key=lambda path: (len(path), path))]
