# SPDX-License-Identifier: Apache-2.0
"""Files that a virtual machine boots from: ext4 images and cpio archives. Nothing is mounted to make them."""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .errors import LabError
from .run import tool

SUPERBLOCK = 1024  # bytes into the file system, and its size
MAGIC, MAGIC_AT = 0xEF53, 0x38
INCOMPATIBLE_AT, NEEDS_RECOVERY = 0x60, 0x4


def ext4(image: Path, content: Path, megabytes: int) -> None:
    """An ext4 file system of this size (the file is sparse) with the content of a folder."""
    image.touch()
    # Lazy initialisation is for real disks; the kernel would do it under emulation instead.
    argv: list[str | Path] = [
        "mke2fs",
        "-q",
        "-t",
        "ext4",
        "-E",
        "lazy_itable_init=1,nodiscard",
        "-m",
        "0",
        "-d",
        content,
        image,
    ]
    tool([*argv, f"{megabytes}M"])


def unmounted(overlay: Path) -> bool:
    """Whether the ext4 on a qcow2 disk that no machine uses was unmounted, or mounted read-only, at the end.

    A disk that cannot be read was not.
    """
    found = overlay.with_suffix(".superblock")
    argv: list[str | Path] = ["qemu-img", "dd", "-f", "qcow2", "-O", "raw", f"bs={SUPERBLOCK}", "skip=1", "count=2"]
    try:
        tool([*argv, f"if={overlay}", f"of={found}"])
        return was_unmounted(found.read_bytes())
    except LabError:
        return False
    finally:
        found.unlink(missing_ok=True)


def was_unmounted(superblock: bytes) -> bool:
    """What the disk itself says: the kernel notes "needs recovery" in the superblock as long as it may write."""
    (magic,) = struct.unpack_from("<H", superblock, MAGIC_AT)
    (incompatible,) = struct.unpack_from("<I", superblock, INCOMPATIBLE_AT)
    return bool(magic == MAGIC and not incompatible & NEEDS_RECOVERY)


@dataclass(frozen=True)
class Entry:
    """A member of a cpio archive; a folder if it has no data."""

    name: str
    data: bytes | None = None
    executable: bool = False


def _member(number: int, name: str, mode: int, data: bytes) -> bytes:
    encoded = name.encode() + b"\0"
    # ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    header = b"070701" + "".join(f"{field:08x}" for field in fields).encode() + encoded
    return _aligned(header) + _aligned(data)


def _aligned(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def cpio(entries: Iterable[Entry]) -> bytes:
    """A cpio archive in the kernel's format for initial file systems (newc). Folders come before their content."""
    parts = []
    for number, entry in enumerate(entries, start=1):
        kind = stat.S_IFDIR if entry.data is None else stat.S_IFREG
        mode = kind | (0o755 if entry.data is None or entry.executable else 0o644)
        parts.append(_member(number, entry.name, mode, entry.data or b""))
    return b"".join([*parts, _member(0, "TRAILER!!!", 0, b"")])
