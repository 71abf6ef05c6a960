# SPDX-License-Identifier: Apache-2.0
"""The functional suite's part for the list of holders: who has the devices open."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from selftest_device import LIBC, Skipped, expect, opened
from selftest_faults import need_debugfs
from selftest_load import DEBUGFS, holders, loaded

KEYS = ["device", "tgid", "cgroup", "since", "comm"]
PR_SET_NAME = 15


@contextlib.contextmanager
def cgroup() -> Iterator[Path | None]:
    """A new one of the version 2 hierarchy, or None where there is no such hierarchy."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    roots = [Path(fields[1]) for fields in mounts if fields[2] == "cgroup2"]
    if not roots:
        yield None
        return
    folder = roots[0] / "ptemplate-selftest"
    folder.mkdir()
    try:
        yield folder
    finally:
        deadline = time.monotonic() + 5
        while True:  # a process that ended may be in it for a moment
            try:
                folder.rmdir()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


@contextlib.contextmanager
def holder(device: str, name: bytes, folder: Path | None) -> Iterator[int]:
    """A process of that name, in that cgroup, with the device open."""
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if folder:
                (folder / "cgroup.procs").write_text("0")
            LIBC.prctl(PR_SET_NAME, ctypes.c_char_p(name))
            os.open(device, os.O_RDONLY)
            os.write(tell, b"x")
            select.select([], [], [], 60)
        finally:
            os._exit(0)
    os.close(tell)
    expect("the child has it open", b"x", os.read(ready, 1))
    os.close(ready)
    try:
        yield child
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_holders_are_named(module: str) -> None:
    need_debugfs()
    with loaded(module, "max_dev=2"), cgroup() as folder:
        expect("permissions", 0o400, stat.S_IMODE((DEBUGFS / "holders").stat().st_mode))
        expect("nobody", [], holders())
        before = int(time.time())
        with opened("/dev/ptemplate-0"), holder("/dev/ptemplate-1", b"a b\\\n", folder) as child:
            mine, other = holders()
            expect("keys", [KEYS, KEYS], [list(mine), list(other)])
            expect("mine", ("ptemplate-0", os.getpid()), (mine["device"], int(mine["tgid"])))
            expect("the other", ("ptemplate-1", child), (other["device"], int(other["tgid"])))
            expect("its name, escaped", r"a\040b\134\012", other["comm"])
            expect("since when", True, before <= int(other["since"]) <= int(time.time()))
            if folder:
                expect("its cgroup", folder.stat().st_ino, int(other["cgroup"]))
                expect("its cgroup is not mine", True, mine["cgroup"] != other["cgroup"])
        deadline = time.monotonic() + 5
        while holders() and time.monotonic() < deadline:
            time.sleep(0.05)
        expect("nobody any more", [], holders())


def test_the_list_of_holders_is_for_root(module: str) -> None:
    need_debugfs()
    with loaded(module, "faults=1"):
        child = os.fork()
        if child == 0:
            os.setgid(65534)
            os.setuid(65534)
            seen = 0
            for path in (DEBUGFS / "holders", DEBUGFS / "ptemplate-0/fault"):
                with contextlib.suppress(PermissionError):
                    os.close(os.open(path, os.O_RDONLY))
                    seen += 1
            os._exit(seen)
        expect("files that nobody could open", 0, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def test_many_holders(module: str) -> None:
    need_debugfs()
    with loaded(module, "max_dev=3"):
        handles = [os.open(f"/dev/ptemplate-{number % 3}", os.O_RDONLY) for number in range(600)]
        try:
            listed = [one["device"] for one in holders()]
            expect("of each device", [200] * 3, [listed.count(f"ptemplate-{number}") for number in range(3)])
        finally:
            for handle in handles:
                os.close(handle)
        expect("nobody any more", [], holders())


def test_holders_without_version_2_of_cgroups(module: str) -> None:
    need_debugfs()
    if any(line.split()[2] == "cgroup2" for line in Path("/proc/mounts").read_text().splitlines()):
        raise Skipped("it is mounted here")
    with loaded(module), opened("/dev/ptemplate-0"):
        expect("the id says so", True, holders()[0]["cgroup"] in ("0", "1"))


HOLDER_TESTS = [
    test_holders_are_named,
    test_the_list_of_holders_is_for_root,
    test_many_holders,
    test_holders_without_version_2_of_cgroups,
]
