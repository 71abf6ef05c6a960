# SPDX-License-Identifier: Apache-2.0
"""The module's functional suite, on the kernel that it runs in. Prints TAP; exit status 1 if a test failed.

Usage: selftest.py ptemplate_char_dev.ko      (as root; loads and unloads the module, which must not be loaded)

Needs Python 3.9, insmod, rmmod, and selftest_device.py beside it. Where the kernel has fault injection and kmemleak it
uses them.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from selftest_device import DEVICE_TESTS, LIBC, SYSFS, Skipped, content, expect, opened, parameter, run

NAME = SYSFS.name
KMEMLEAK = Path("/sys/kernel/debug/kmemleak")
FINIT_MODULE = 313 if os.uname().machine == "x86_64" else 273  # glibc has no function for it
TROUBLE = re.compile(r"KASAN|BUG:|WARNING:|Oops|UBSAN|possible recursive|circular locking|INFO: (task|rcu)|refcount_t:")


class KernelLog:
    """What the kernel said since this was made."""

    def __init__(self) -> None:
        self._handle = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self._handle, 0, os.SEEK_END)

    def lines(self) -> list[str]:
        lines: list[str] = []
        while True:
            try:
                record = os.read(self._handle, 8192).decode(errors="replace")
            except BlockingIOError:
                return lines
            except BrokenPipeError:
                lines.append("BUG: kernel log records were lost; next: a bigger log_buf_len")
                continue
            lines.append(record.split(";", 1)[-1].split("\n", 1)[0])


def insmod(module: str, *parameters: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["insmod", module, *parameters], capture_output=True, text=True)


def rmmod() -> subprocess.CompletedProcess[str]:
    return subprocess.run(["rmmod", NAME], capture_output=True, text=True)


@contextlib.contextmanager
def loaded(module: str, *parameters: str) -> Iterator[None]:
    result = insmod(module, *parameters)
    expect(f"insmod {' '.join(parameters)}", (0, ""), (result.returncode, result.stderr))
    try:
        yield
    finally:
        result = rmmod()
    expect("rmmod", (0, ""), (result.returncode, result.stderr))
    expect_nothing_left()


def expect_nothing_left() -> None:
    expect("the module after unloading", False, SYSFS.exists())
    expect("nodes after unloading", [], nodes())
    expect("the class after unloading", False, Path("/sys/class/ptemplate").exists())
    expect("the device numbers after unloading", False, "ptemplate" in Path("/proc/devices").read_text())


def nodes() -> list[str]:
    return sorted((path.name for path in Path("/dev").glob("ptemplate-*")), key=lambda name: int(name[10:]))


def test_load_and_unload_twice(module: str) -> None:
    for _ in range(2):
        with loaded(module):
            expect("nodes", [f"ptemplate-{number}" for number in range(5)], nodes())
            for name, value in {"max_dev": "5", "buffersize": "100", "mode": "0660"}.items():
                expect(name, value, parameter(name))
                expect(f"permissions of {name}", 0o444, (SYSFS / "parameters" / name).stat().st_mode & 0o777)
            for name in nodes():
                found = os.stat(f"/dev/{name}")
                expect(name, (True, "0o660"), (stat.S_ISCHR(found.st_mode), oct(found.st_mode & 0o7777)))
                expect(f"content of {name}", b"uninitialised", content(f"/dev/{name}"))


def test_parameters(module: str) -> None:
    with loaded(module, "max_dev=2", "buffersize=8", "default_msg=hello", "mode=0600"):
        expect("nodes", ["ptemplate-0", "ptemplate-1"], nodes())
        expect("mode", (0o600, "0600"), (os.stat("/dev/ptemplate-1").st_mode & 0o7777, parameter("mode")))
        Path("/dev/ptemplate-1").write_bytes(b"12345678")
        expect("content", [b"hello", b"12345678"], [content("/dev/ptemplate-0"), content("/dev/ptemplate-1")])


def test_values_out_of_range_are_clamped_and_said(module: str) -> None:
    cases = [
        ("max_dev", "0", "1"),
        ("max_dev", "-2147483648", "1"),
        ("max_dev", "1025", "1024"),
        ("buffersize", "0", "1"),
        ("buffersize", "1048577", "1048576"),
        ("mode", "04777", "0660"),
        ("mode", "0", "0660"),
    ]
    for name, value, used in cases:
        log = KernelLog()
        with loaded(module, "default_msg=x", f"{name}={value}"):
            expect(f"{name} of {value}", used, parameter(name))
            if name == "max_dev":
                expect("nodes", int(used), len(nodes()))
        said = [line for line in log.lines() if f"{name}={value}" in line and f"using {used}" in line]
        expect(f"log lines about {name}={value}", 1, len(said))


def test_a_message_that_does_not_fit_is_cut_and_said(module: str) -> None:
    log = KernelLog()
    with loaded(module, "buffersize=4", "default_msg=abcdef"):
        expect("content", b"abcd", content("/dev/ptemplate-4"))
    expect("log lines about it", 1, sum("default_msg is longer" in line for line in log.lines()))


def test_values_that_are_no_numbers_are_refused(module: str) -> None:
    for value in ("max_dev=many", "buffersize=99999999999", "mode=rw", "max_dev="):
        expect(f"exit status of insmod {value}", 1, insmod(module, value).returncode)
        expect_nothing_left()


def test_an_open_device_holds_the_module(module: str) -> None:
    with loaded(module), opened("/dev/ptemplate-0") as handle:
        result = rmmod()
        expect("exit status of rmmod", 1, result.returncode)
        expect("rmmod says in use", True, "in use" in result.stderr or "unavailable" in result.stderr)
        expect("the device goes on", b"uninitialised", os.read(handle, 100))


def test_devices_of_every_size(module: str) -> None:
    for size in (100, 65536, 1048576):
        with loaded(module, f"buffersize={size}", "max_dev=2"):
            for test in DEVICE_TESTS:
                test("/dev/ptemplate-1", size)
            expect("content of the other device", b"uninitialised", content("/dev/ptemplate-0"))


def test_more_than_the_memory_is_refused_whole(module: str) -> None:
    memory = int(re.findall(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text())[0])
    if memory > 900 * 1024:
        raise Skipped(f"{memory // 1024} MiB of memory: 1024 devices of 1 MiB may fit")
    log = KernelLog()
    result = insmod(module, "max_dev=1024", "buffersize=1048576")
    expect("exit status of insmod", 1, result.returncode)
    expect("log lines about it", 1, sum("no memory for 1024 devices" in line for line in log.lines()))
    expect_nothing_left()


def kmemleak_runs() -> bool:
    try:
        KMEMLEAK.write_text("scan=600")  # sets its period: refused when it is off
    except OSError:
        return False
    return True


def test_every_allocation_of_a_load_may_fail(module: str) -> None:
    """The n-th allocation fails, for each n until none is left to fail. Each time: whole or not at all."""
    knobs = Path("/sys/kernel/debug/failslab")
    if not knobs.is_dir():
        raise Skipped("no fault injection in this kernel")
    if kmemleak_runs():
        KMEMLEAK.write_text("off")  # it complains when an allocation of its own fails
    (knobs / "ignore-gfp-wait").write_text("N")
    (knobs / "verbose").write_text("0")
    failed = 0
    for nth in range(1, 2000):
        with opened(module, os.O_RDONLY) as handle, opened("/proc/thread-self/fail-nth") as control:
            os.write(control, str(nth).encode())
            result = LIBC.syscall(FINIT_MODULE, handle, b"max_dev=2", 0)
            left = os.pread(control, 16, 0).strip()
            os.pwrite(control, b"0", 0)
        if result == 0:
            expect("nodes", 2, len(nodes()))
            expect("rmmod", 0, rmmod().returncode)
        else:
            failed += 1
        expect_nothing_left()
        if left != b"0":
            break
    expect("loads that failed: more than 20", True, failed > 20)


def test_nothing_leaks(module: str) -> None:
    """What a load or an open leaks, it leaks each time; single reports come from the kernel's own uevents."""
    loads = 20
    if not kmemleak_runs():
        raise Skipped("kmemleak is not in this kernel, or off")
    for _ in range(loads):
        with loaded(module):
            Path("/dev/ptemplate-0").write_bytes(b"x")
    for _ in range(2):
        time.sleep(5)  # kmemleak reports what is older than that
        KMEMLEAK.write_text("scan")
    leaks = [leak for leak in re.split(r"(?=unreferenced object)", KMEMLEAK.read_text()) if "ptemplate" in leak]
    for line in "".join(leaks).splitlines():
        print(f"# {line}")
    expect(f"{loads} leaks or more", False, len(leaks) >= loads)


MODULE_TESTS = [
    test_load_and_unload_twice,
    test_parameters,
    test_values_out_of_range_are_clamped_and_said,
    test_a_message_that_does_not_fit_is_cut_and_said,
    test_values_that_are_no_numbers_are_refused,
    test_an_open_device_holds_the_module,
    test_devices_of_every_size,
    test_nothing_leaks,  # before the two that starve the kernel: kmemleak then gives up
    test_every_allocation_of_a_load_may_fail,
    test_more_than_the_memory_is_refused_whole,
]


def with_clean_log(test: Callable[[str], None], module: str) -> None:
    log = KernelLog()
    test(module)
    expect("trouble in the kernel log", [], [line for line in log.lines() if TROUBLE.search(line)])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("module", help="the file to load")
    module = parser.parse_args().module
    if os.geteuid() != 0 or SYSFS.exists():
        parser.error(
            f"expected uid 0, seen {os.geteuid()}; expected no {SYSFS}, seen: {SYSFS.exists()}; next: rmmod {NAME}"
        )
    return run([(test.__name__, partial(with_clean_log, test, module)) for test in MODULE_TESTS]) > 0


if __name__ == "__main__":
    sys.exit(main())
