# SPDX-License-Identifier: Apache-2.0
"""Which pods hold a device open, on the node: what `rmmod` means by "in use".

The driver's own list is taken where it has one (files/kernel_module/README.md, "Who has it open"): it keeps
the opener even when the file was handed on. Without it, the open files of all processes are looked through,
for any driver. A process leads to its cgroup, whose folder has the pod's UID in its name (the kubelet's
cgroup drivers systemd and cgroupfs), and the UID to its name by the kubelet's folder NAMESPACE_NAME_UID in
/var/log/pods.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .device import DeviceError

LIST = "sys/kernel/debug/ptemplate/holders"
CGROUPS = ("sys/fs/cgroup/unified", "sys/fs/cgroup")  # where cgroup v2 is mounted: beside v1, or alone
# A UUID, with _ for - by the systemd driver, or the hash that a static pod has.
POD = re.compile(
    r"[-/]pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?(?:/|$)"
)


@dataclass(frozen=True)
class Holder:
    """One open file. since: seconds of the Unix epoch, where the driver tells. pod: namespace/name."""

    device: str
    process: int
    command: str
    since: int | None
    cgroup: str | None
    pod: str | None
    uid: str | None

    @property
    def who(self) -> str:
        if self.pod:
            return f"pod {self.pod}"
        if self.uid:
            return f"pod with UID {self.uid}, which the kubelet no longer knows"
        return self.cgroup or "no cgroup that is there"


def listed(text: str) -> Iterator[tuple[str, int, str, int, int]]:
    """Device, process, command, since and cgroup of each line of the driver's list."""
    for number, line in enumerate(text.splitlines(), 1):
        words = dict(word.partition("=")[::2] for word in line.split(" "))
        try:
            yield (
                words["device"],
                int(words["tgid"]),
                words["comm"],
                int(words["since"]),
                int(words["cgroup"]),
            )
        except (KeyError, ValueError):
            raise DeviceError(
                f"{LIST}: expected device, tgid, cgroup, since and comm; seen line {number}: {line!r}"
            ) from None


def pod_uid(cgroup: str) -> str | None:
    """The UID in a cgroup's path, as the API has it."""
    found = POD.search(cgroup)
    return found[1].replace("_", "-") if found else None


def pod_names(folders: Iterable[str]) -> dict[str, str]:
    """UID: namespace/name, of the names of the kubelet's folders."""
    parts = [folder.split("_") for folder in folders]
    return {part[2]: f"{part[0]}/{part[1]}" for part in parts if len(part) == 3}


def cgroup_paths(root: Path, wanted: set[int]) -> dict[int, str]:
    """The folders of cgroups by their inode numbers, which are the cgroups' ids."""
    found: dict[int, str] = {}
    for mount in (root / place for place in CGROUPS):
        for folder, _folders, _files in os.walk(mount):
            if len(found) == len(wanted):
                return found
            inode = os.stat(folder).st_ino
            if inode in wanted:
                found.setdefault(inode, "/" + os.path.relpath(folder, mount).removeprefix("."))
    return found


def _key(path: str | Path) -> tuple[int, int] | None:
    """What makes two paths the same device, also by another name in a container."""
    try:
        seen = os.stat(path)
    except OSError:
        return None  # closed or ended meanwhile
    return (0, seen.st_rdev) if stat.S_ISCHR(seen.st_mode) else (seen.st_dev, seen.st_ino)


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def opened(root: Path, pattern: str) -> Iterator[tuple[str, int, str, str]]:
    """Device, process, command and cgroup of each open file, out of /proc. pattern: a glob below root."""
    devices = {_key(path): path.name for path in root.glob(pattern)} if pattern else {}
    for process in sorted(root.glob("proc/[0-9]*"), key=lambda path: int(path.name)):
        try:
            files = list(os.scandir(process / "fd"))
        except OSError:
            continue  # ended meanwhile
        names = [devices[key] for key in map(_key, (file.path for file in files)) if key in devices]
        if names:
            command = _read(process / "comm").strip()
            lines = _read(process / "cgroup").splitlines()
            cgroup = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "")
            yield from ((name, int(process.name), command, cgroup) for name in sorted(names))


def find(root: Path, pattern: str, driver_list: bool = True) -> list[Holder]:
    """Who holds devices on the node whose file system is at root.

    Raises DeviceError when this is not a place that sees all processes, since then nobody would be named.
    """
    if not (root / "proc/1").exists():
        raise DeviceError(
            f"{root}: expected the node's file system with proc and sys in it; next: run it as root on the "
            "node, or by kubectl debug node/NODE --profile=sysadmin and --root /host"
        )
    text = None
    if driver_list and (root / LIST).exists():
        text = (root / LIST).read_text()
    rows: list[tuple[str, int, str, int | None, str | None]]
    if text is None:
        rows = [
            (name, process, comm, None, cgroup or None)
            for name, process, comm, cgroup in opened(root, pattern)
        ]
    else:
        seen = list(listed(text))
        paths = cgroup_paths(root, {row[4] for row in seen})
        rows = [
            (name, process, comm, since, paths.get(cgroup)) for name, process, comm, since, cgroup in seen
        ]
    folder = root / "var/log/pods"
    names = pod_names(os.listdir(folder) if folder.is_dir() else ())
    uids = [pod_uid(row[4] or "") for row in rows]
    return [Holder(*row, names.get(uid or ""), uid) for row, uid in zip(rows, uids, strict=True)]
