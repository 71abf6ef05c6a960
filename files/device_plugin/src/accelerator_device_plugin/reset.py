# SPDX-License-Identifier: Apache-2.0
"""Resets devices by the attribute that their driver has for that, in sysfs."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from pathlib import Path

from .discovery import Device
from .evidence import folder

_BUSY = 2.0  # seconds that a device may still be open: the last container's processes have only just ended
_AGAIN = 0.1  # seconds between two attempts
_THREADS = 32


def target(root: Path, sysfs: Path, attribute: str, device: Device) -> str:
    """The attribute's real path, which two devices may share. Raises OSError without a node."""
    return os.path.realpath(f"{folder(sysfs, os.stat(f'{root}{device.path}').st_rdev)}/{attribute}")


def reset(root: Path, sysfs: Path, attribute: str, device: Device) -> str:
    """Why the device was not reset; empty if it was. Takes as long as its driver does."""
    try:
        path = target(root, sysfs, attribute, device)
    except OSError as error:
        return f"{device.path}: {error.strerror}"
    end = time.monotonic() + _BUSY
    while True:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(descriptor, b"1")
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > end:
                return f"{path}: {error.strerror}"
            time.sleep(_AGAIN)
        else:
            return ""


class Resets:
    """Of several devices at a time. One that was begun cannot be stopped, so no other is begun until it ends.

    Otherwise the one that was given up on could come to its end in the midst of the next container's work.
    """

    def __init__(self, work: Callable[[Device], str], target: Callable[[Device], str]) -> None:
        self._work = work
        self._target = target
        self._under_way: set[Device] = set()
        self._changed = threading.Condition()

    def place(self, device: Device) -> str | None:
        """Two devices with the same are reset together; None of a device that has gone."""
        try:
            return self._target(device)
        except OSError:
            return None

    def all(self, devices: Collection[Device], seconds: float) -> dict[Device, str]:
        """Why each was not reset, by then; empty if it was."""
        with self._changed:
            answers = {
                device: "an earlier reset has not ended" for device in devices if device in self._under_way
            }
            mine = [device for device in devices if device not in answers]
            self._under_way.update(mine)
        waiting = deque(mine)

        def go() -> None:
            while device := self._next(waiting):
                try:
                    answer = self._work(device)
                    with self._changed:
                        answers[device] = answer
                finally:
                    with self._changed:
                        self._under_way.discard(device)
                        self._changed.notify_all()

        for number in range(min(len(mine), _THREADS)):
            threading.Thread(target=go, name=f"reset {number}", daemon=True).start()
        with self._changed:
            self._changed.wait_for(lambda: all(device in answers for device in mine), seconds)
            self._under_way.difference_update(waiting)
            waiting.clear()
            return {device: answers.get(device, f"not ended within {seconds:.0f} s") for device in devices}

    def _next(self, waiting: deque[Device]) -> Device | None:
        with self._changed:
            return waiting.popleft() if waiting else None
