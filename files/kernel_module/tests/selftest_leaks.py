# SPDX-License-Identifier: Apache-2.0
"""The functional suite's part that looks for leaks, with kmemleak: memory that nothing points to any more."""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path

from selftest_device import Skipped, expect, opened, reset
from selftest_load import NAME, holders, load, loaded, set_fault, unload
from selftest_starve import (
    DEVICE,
    test_every_allocation_of_a_load_may_fail,
    test_every_allocation_of_an_open_may_fail,
    test_every_allocation_of_use_and_return_may_fail,
)

KMEMLEAK = Path("/sys/kernel/debug/kmemleak")
ROUNDS = 20
# Linux 6.1's class_register does not free the class's name where kset_register, without memory, fails.
KERNELS_OWN = re.compile(r"\] kobject_set_name\+.*\n.*\] __class_register\+")


def scan() -> list[str]:
    """What nothing pointed to in this scan, one text an object."""
    KMEMLEAK.write_text("scan")
    return re.split(r"(?=unreferenced object)", KMEMLEAK.read_text())[1:]


def unreferenced() -> list[str]:
    """The first scan only remembers contents: what has changed by the next is in use. Those leave out what is younger
    than five seconds. A third one confirms: what is freed late, or was being moved, is gone by then.
    """
    scan()
    time.sleep(5.5)
    return scan() and scan()


def ours(leak: str) -> bool:
    """Whether code of the module allocated it. Functions without a name are of a module that was unloaded: of this."""
    return re.search(rf"\[{NAME}\]|\] 0x[0-9a-f]+$", leak.partition("backtrace")[2], re.MULTILINE) is not None


def leaked(found: list[str]) -> list[str]:
    """Those of the module, and those that come with every round: what the kernel allocates for us elsewhere, as in a
    worker, or so deep that the backtrace ends before our part. Half of the rounds, since a stale pointer may hide an
    object from kmemleak. What remains is the kernel's own.
    """

    def kind(leak: str) -> str:
        return " ".join(re.findall(r"size \d+|(?<=\] )\w+\+0x", leak))

    found = [leak for leak in found if not KERNELS_OWN.search(leak)]
    counts = Counter(kind(leak) for leak in found)
    return [leak for leak in found if ours(leak) or counts[kind(leak)] >= ROUNDS / 2]


def start() -> None:
    try:
        KMEMLEAK.write_text("scan=off")  # by itself; refused when kmemleak is off
    except OSError:
        raise Skipped("kmemleak is not in this kernel, or off") from None
    KMEMLEAK.write_text("clear")


def expect_none() -> None:
    found = unreferenced()
    leaks = leaked(found)
    print(f"# kmemleak: {len(found)} objects that nothing points to, {len(leaks)} of them leaked here")
    for line in "".join((leaks or found)[:3]).splitlines():
        print(f"# {line}")
    expect("leaks", 0, len(leaks))


def test_loads_leak_nothing(module: str) -> None:
    start()
    for _ in range(ROUNDS):
        expect("load", 0, load(module))
        Path(DEVICE).write_bytes(b"x")
        expect("unload", 0, unload())
    expect_none()


def test_use_leaks_nothing(module: str) -> None:
    start()
    with loaded(module, "faults=1"):
        for _ in range(ROUNDS):
            for fault in ("error", "hang", "removed", "none"):
                set_fault(fault)
            with opened(DEVICE) as handle:
                reset(handle)
            holders()
        expect_none()  # while its functions have names


def test_want_of_memory_leaks_nothing(module: str) -> None:
    start()
    test_every_allocation_of_a_load_may_fail(module)
    test_every_allocation_of_an_open_may_fail(module)
    test_every_allocation_of_use_and_return_may_fail(module)
    expect_none()


LEAK_TESTS = [test_loads_leak_nothing, test_use_leaks_nothing, test_want_of_memory_leaks_nothing]
