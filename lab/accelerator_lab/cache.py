# SPDX-License-Identifier: Apache-2.0
"""Things that take long to make, kept under the user's cache folder by a key of what they are made from."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

LAB = Path(__file__).resolve().parent.parent
CHECKOUT = LAB.parent


def root() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "ecosystem-edge-accelerator"


def content_key(*parts: str | Path) -> str:
    """A short hash of strings and of files' contents. Lengths go in, so that no two lists of parts run together."""
    sha = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else part.encode()
        sha.update(f"{len(data)}:".encode() + data)
    return sha.hexdigest()[:12]


@contextmanager
def locked(path: Path, waits: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Holds an exclusive lock on a file; the kernel lets go of it if this process is killed.

    waits: called once if another has the lock, before it is waited for.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waits()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def write_whole(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Writes a file that others see as it was before or as it is now, also when two write it at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    number, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(number, "wb") as file:
        os.fchmod(number, mode)
        file.write(data)
    os.replace(temporary, path)


def produce(kind: str, name: str, make: Callable[[Path], None]) -> Path:
    """The folder <cache>/<kind>/<name>; made once, whole or not at all, also when two labs want it at a time."""
    folder = root() / kind / name
    if folder.exists():
        return folder
    with locked(root() / "locks" / f"{kind}-{name}"):
        if folder.exists():
            return folder
        unfinished = folder.with_name(f".{name}.unfinished")
        remove_tree(unfinished)  # of a run that was killed
        unfinished.mkdir(parents=True)
        make(unfinished)
        os.sync()  # whole also after a power cut: a rename may reach the disk before the content does
        unfinished.rename(folder)
    return folder


def remove_tree(folder: Path) -> None:
    """Deletes a folder. Like `rm --one-file-system`: a /proc or /dev mounted inside by a killed build is left alone."""
    if not folder.exists():
        return
    device = folder.lstat().st_dev
    for base, names, _ in os.walk(folder):
        mounted = [name for name in names if (Path(base) / name).lstat().st_dev != device]
        if mounted:
            raise OSError(f"{base}/{mounted[0]} is a mount: umount it, then try again")
    shutil.rmtree(folder)
