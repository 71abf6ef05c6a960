# SPDX-License-Identifier: Apache-2.0
"""Waits until something happens to some folders and files (inotify), someone calls, or time is up.

Events only say "look again": what is looked at afterwards is the truth, so events are drained and not read.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import select
import time
from collections.abc import Callable, Iterable
from pathlib import Path

# <sys/inotify.h>; attributes are watched since a node's owner, mode or label may come later than the node.
_MODIFY, _ATTRIB, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x2, 0x4, 0x40, 0x80, 0x100, 0x200
_EVENTS = _ATTRIB | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE
_CONTENT = _MODIFY  # of a file; of one in sysfs, when the driver calls sysfs_notify
_libc = ctypes.CDLL(None, use_errno=True)
_log = logging.getLogger(__name__)


class Watch:
    def __init__(self) -> None:
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._listened: dict[int, Callable[[], bool]] = {}
        self._unwatched: set[Path | str] = set()  # paths of which that was told
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
        for folder in folders:
            self._add(folder, _EVENTS)

    def add_files(self, files: Iterable[str]) -> None:
        """Watches what these files hold."""
        for file in files:
            self._add(file, _CONTENT)

    def _add(self, path: Path | str, events: int) -> None:
        if self._inotify < 0:
            return
        if _libc.inotify_add_watch(self._inotify, os.fsencode(path), events) >= 0:
            self._unwatched.discard(path)
        elif (number := ctypes.get_errno()) != errno.ENOENT:  # gone meanwhile: its parent's watch tells
            self._complain(path, os.strerror(number))

    def _complain(self, path: Path | str, why: str) -> None:
        """Once, not at each look. Usual cause: fs.inotify.max_user_watches, shared like the instances."""
        if path not in self._unwatched:
            _log.warning(
                "inotify: cannot watch %s: %s; its changes are seen at the self-check's interval only; "
                "see sysctl fs.inotify",
                path,
                why,
            )
        self._unwatched.add(path)

    def listen(self, descriptor: int, news: Callable[[], bool]) -> None:
        """Also waits for a socket of the caller's. `news` empties it and says whether that ends a wait."""
        self._listened[descriptor] = news
        self._poll.register(descriptor, select.POLLIN)

    def wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            news = [self._take(descriptor) for descriptor, _event in self._poll.poll(left * 1000)]
            if any(news):
                return

    def _take(self, descriptor: int) -> bool:
        if descriptor in self._listened:
            return self._hear(descriptor)
        try:
            os.read(descriptor, 65536)
        except BlockingIOError:
            pass
        return True

    def _hear(self, descriptor: int) -> bool:
        try:
            return self._listened[descriptor]()
        except OSError as error:
            # Else it would end every wait at once. SELinux, for one, can forbid reading what could be opened.
            self._poll.unregister(descriptor)
            _log.warning(
                "no more uevents: %s; devices are watched by inotify and at the interval", error.strerror
            )
            return True

    def ring(self) -> None:
        """Ends a wait, now or the next one; from any thread."""
        os.eventfd_write(self._bell, 1)

    def close(self) -> None:
        for descriptor in (self._bell, self._inotify):
            if descriptor >= 0:
                os.close(descriptor)
