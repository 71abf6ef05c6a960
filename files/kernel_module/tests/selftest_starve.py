# SPDX-License-Identifier: Apache-2.0
"""The functional suite's part that wears the module out: often, with any parameters, without memory."""

from __future__ import annotations

import ctypes
import errno
import os
import random
import re
from collections.abc import Callable
from pathlib import Path

from selftest_device import Skipped, content, expect, opened, parameter, reset
from selftest_load import (
    DEBUGFS,
    KernelLog,
    expect_nothing_left,
    holders,
    insmod,
    load,
    load_open,
    loaded,
    nodes,
    set_fault,
    unload,
)

FAILSLAB = Path("/sys/kernel/debug/failslab")
DEVICE = "/dev/ptemplate-0"
CYCLES = 200


def test_200_cycles(module: str) -> None:
    for cycle in range(CYCLES):
        count = 1 + cycle % 4
        expect("load", 0, load(module, f"max_dev={count} faults={cycle % 2} buffersize={1 + cycle * 997}".encode()))
        expect("nodes", count, len(nodes()))
        with opened(DEVICE) as handle:
            os.pwrite(handle, b"x", 0)
        if cycle % 2 and DEBUGFS.exists():
            set_fault("removed")
        expect("unload", 0, unload())
    expect_nothing_left()


NUMBERS = [b"0", b"1", b"-1", b"5", b"1025", b"2147483647", b"2147483648", b"-2147483648", b"0x10"]
NUMBERS += [
    b"010",
    b"1e3",
    b" 7",
    b"99999999999999999999",
    b"",
    b"\xff\xfe",
    b"5\n",
    b"+5",
    b"--",
    b"'5'",
    b'"5"',
    b"5,6",
]
TEXTS = [b"", b"x" * 1023, b"x" * 1024, b"x" * 3000, b"%s%n%d", b'"a b"', b'"', b"\xff\xfe\x01", b"a=b", b"\n", b"\\0"]
SWITCHES = [b"0", b"1", b"y", b"n", b"Y", b"N", b"on", b"off", b"2", b"", b"true", b"yes please"]
VALUES = {b"max_dev": NUMBERS, b"buffersize": NUMBERS, b"mode": NUMBERS, b"default_msg": TEXTS, b"faults": SWITCHES}
REASON = re.compile("ptemplate_char_dev: |default_msg: string parameter too long")
REFUSALS = {errno.EINVAL, errno.ERANGE, errno.ENOSPC, errno.ENOMEM, errno.ENOENT}


def test_any_parameter_value_loads_or_is_refused_with_a_reason(module: str) -> None:
    seed = 20260101
    chance = random.Random(seed)
    cases = [b"%s=%s" % (name, value) for name, values in VALUES.items() for value in values] + [*VALUES, b"unknown=1"]
    for _ in range(30):
        names = chance.sample(sorted(VALUES), chance.randint(1, 3))
        noise = bytes(chance.randint(1, 255) for _ in range(chance.randint(1, 12)))
        cases.append(b" ".join(b"%s=%s" % (name, chance.choice([*VALUES[name], noise])) for name in names))
    loads = refusals = 0
    for case in cases:
        what = f"{case[:60]!r} (seed {seed})"
        log = KernelLog()
        if load(module, case) == 0:
            loads += 1
            expect(f"nodes with {what}", int(parameter("max_dev")), len(nodes()))
            expect(f"buffersize with {what}", True, 1 <= int(parameter("buffersize")) <= 1048576)
            expect(f"unload after {what}", 0, unload())
        else:
            refusals += 1
            expect(f"error of {what}", True, ctypes.get_errno() in REFUSALS)
            expect(f"reasons in the log for {what}", True, any(REASON.search(line) for line in log.lines()))
        log.close()
        expect_nothing_left()
    expect("some of each", True, loads > 20 and refusals > 20)


def test_more_than_the_memory_is_refused_whole(module: str) -> None:
    memory = int(re.findall(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text())[0])
    if memory > 900 * 1024:
        raise Skipped(f"{memory // 1024} MiB of memory: 1024 devices of 1 MiB may fit")
    log = KernelLog()
    result = insmod(module, "max_dev=1024", "buffersize=1048576")
    expect("exit status of insmod", 1, result.returncode)
    expect("log lines about it", 1, sum("no memory for 1024 devices" in line for line in log.lines()))
    log.close()
    expect_nothing_left()


def each_allocation_fails(what: str, action: Callable[[], bool], after: Callable[[], None], at_least: int) -> None:
    """The n-th allocation of the action fails, for each n until none is left. It says whether it succeeded."""
    if not FAILSLAB.is_dir():
        raise Skipped("no fault injection in this kernel")
    (FAILSLAB / "ignore-gfp-wait").write_text("N")
    (FAILSLAB / "verbose").write_text("0")
    failed = 0
    for nth in range(1, 3000):
        with opened("/proc/thread-self/fail-nth") as control:
            os.write(control, str(nth).encode())
            try:
                succeeded = action()
            finally:
                left = os.pread(control, 16, 0).strip()
                os.pwrite(control, b"0", 0)
        failed += not succeeded
        after()
        if left != b"0":
            expect(f"{what} without a failure succeeds", True, succeeded)
            print(f"# {what}: {nth - 1} allocations failed one at a time, {failed} times it failed with them")
            break
    else:
        expect(f"allocations of {what}: fewer than", 3000, nth)
    expect(f"{what}: failures, at least {at_least}", True, failed >= at_least)


def test_every_allocation_of_a_load_may_fail(module: str) -> None:
    """Each time: whole or not at all."""

    def after() -> None:
        if Path("/sys/module/ptemplate_char_dev").exists():
            expect("nodes", 2, len(nodes()))
            expect("unload", 0, unload())
        expect_nothing_left()

    with opened(module, os.O_RDONLY) as handle:
        each_allocation_fails("load", lambda: load_open(handle, b"max_dev=2 faults=1") == 0, after, 20)


def succeeds(call: Callable[[], object]) -> bool:
    """False for want of memory; any other failure is the test's."""
    try:
        call()
    except OSError as error:
        if error.errno != errno.ENOMEM:
            raise
        return False
    return True


def test_every_allocation_of_an_open_may_fail(module: str) -> None:
    kept: list[int] = []

    def after() -> None:
        listed = len(holders())
        expect("holders", len(kept), listed)
        while kept:
            os.close(kept.pop())
        expect("content", b"hello", content(DEVICE))

    with loaded(module, "default_msg=hello"):
        action = lambda: succeeds(lambda: kept.append(os.open(DEVICE, os.O_RDWR)))  # noqa: E731
        each_allocation_fails("open", action, after, 2)


def test_every_allocation_of_use_and_return_may_fail(module: str) -> None:
    """Once open, use allocates nothing that could fail. A device that cannot come back stays away, and can later."""

    def use() -> None:
        os.pread(handle, 5, 0)
        os.pwrite(handle, b"x", 1)
        reset(handle)

    def after_return() -> None:
        back = "ptemplate-1" in nodes()
        expect("fault says whether it is back", back, fault.read_text() == "none\n")
        if back:
            expect("content", b"hello", content("/dev/ptemplate-1"))
        set_fault("removed", "ptemplate-1")
        expect("nodes", ["ptemplate-0"], nodes())

    with loaded(module, "default_msg=hello", "faults=1", "max_dev=2"), opened(DEVICE) as handle:
        fault = DEBUGFS / "ptemplate-1/fault"
        each_allocation_fails("use", lambda: succeeds(use), lambda: None, 0)
        set_fault("removed", "ptemplate-1")
        control = os.open(fault, os.O_WRONLY)
        each_allocation_fails("return", lambda: succeeds(lambda: os.write(control, b"none")), after_return, 5)
        os.close(control)


STARVE_TESTS = [
    test_200_cycles,
    test_any_parameter_value_loads_or_is_refused_with_a_reason,
    test_every_allocation_of_a_load_may_fail,
    test_every_allocation_of_an_open_may_fail,
    test_every_allocation_of_use_and_return_may_fail,
    test_more_than_the_memory_is_refused_whole,
]
