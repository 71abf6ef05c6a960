# SPDX-License-Identifier: Apache-2.0
"""Waits until something happens in some folders (inotify), someone calls, or time is up.

Events only say "look again": what is looked at afterwards is the truth, so events are drained and not read.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import select
from collections.abc import Iterable
from pathlib import Path

# <sys/inotify.h>; attributes are watched since a node's owner, mode or label may come later than the node.
_ATTRIB, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x4, 0x40, 0x80, 0x100, 0x200
_EVENTS = _ATTRIB | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE
_libc = ctypes.CDLL(None, use_errno=True)
_log = logging.getLogger(__name__)


class Watch:
    def __init__(self) -> None:
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._unwatched: set[Path] = set()  # folders of which that was told
        self._poll.register(self._bell, select.POLLIN)
        self._inotify = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._inotify < 0:
            # Usual cause: fs.inotify.max_user_instances, which all root processes of the node share.
            _log.warning(
                "inotify: %s; changes are seen at the self-check's interval only; see sysctl fs.inotify",
                os.strerror(ctypes.get_errno()),
            )
        else:
            self._poll.register(self._inotify, select.POLLIN)

    def add(self, folders: Iterable[Path]) -> None:
        """Watches these folders too. Watching one twice is watching it once: call it as often as you like."""
        if self._inotify < 0:
            return
        for folder in folders:
            if _libc.inotify_add_watch(self._inotify, os.fsencode(folder), _EVENTS) >= 0:
                self._unwatched.discard(folder)
            elif (number := ctypes.get_errno()) != errno.ENOENT:  # gone meanwhile: its parent's watch tells
                self._complain(folder, os.strerror(number))

    def _complain(self, folder: Path, why: str) -> None:
        """Once, not at each look. Usual cause: fs.inotify.max_user_watches, shared like the instances."""
        if folder not in self._unwatched:
            _log.warning(
                "inotify: cannot watch %s: %s; its changes are seen at the self-check's interval only; "
                "see sysctl fs.inotify",
                folder,
                why,
            )
        self._unwatched.add(folder)

    def wait(self, seconds: float) -> None:
        for event in self._poll.poll(seconds * 1000):
            try:
                os.read(event[0], 65536)
            except BlockingIOError:
                pass

    def ring(self) -> None:
        """Ends a wait, now or the next one; from any thread."""
        os.eventfd_write(self._bell, 1)

    def close(self) -> None:
        for descriptor in (self._bell, self._inotify):
            if descriptor >= 0:
                os.close(descriptor)
