# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ctypes
import errno
from pathlib import Path

import pytest

from accelerator_device_plugin import watch


def test_a_folder_that_cannot_be_watched_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """All root processes of a node share fs.inotify.max_user_watches."""

    class Full:
        full = True

        def inotify_init1(self, flags: int) -> int:
            return real.inotify_init1(flags)

        def inotify_add_watch(self, *arguments: object) -> int:
            ctypes.set_errno(errno.ENOSPC)
            return -1 if self.full else real.inotify_add_watch(*arguments)

    real, libc = watch._libc, Full()
    monkeypatch.setattr(watch, "_libc", libc)
    watched = watch.Watch()
    for _ in range(3):
        watched.add([tmp_path])
    assert caplog.text.count(f"cannot watch {tmp_path}: No space left on device") == 1
    assert "fs.inotify" in caplog.text
    libc.full = False
    watched.add([tmp_path])
    libc.full = True
    watched.add([tmp_path])
    assert caplog.text.count("cannot watch") == 2, "news again after it went well"
    watched.close()
