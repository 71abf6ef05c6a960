# SPDX-License-Identifier: Apache-2.0
"""The module's functional suite, on the kernel that it runs in. Prints TAP; exit status 1 if a test failed.

Usage: selftest.py ptemplate_char_dev.ko [--only TEST…]      (as root; loads and unloads the module, which must not be
loaded)

Needs Python 3.10, insmod, rmmod, and the other selftest_*.py beside it. Where the kernel has fault injection, kmemleak,
debugfs and cgroups of version 2 it uses them; what it cannot do it says as SKIP.
"""

from __future__ import annotations

import argparse
import os
import stat
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from selftest_device import DEVICE_TESTS, SYSFS, content, expect, opened, parameter, run
from selftest_faults import FAULT_TESTS
from selftest_holders import HOLDER_TESTS
from selftest_leaks import LEAK_TESTS
from selftest_load import NAME, TROUBLE, KernelLog, expect_nothing_left, insmod, loaded, nodes, rmmod
from selftest_starve import STARVE_TESTS
from selftest_stress import STRESS_TESTS


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


MODULE_TESTS = [
    test_load_and_unload_twice,
    test_parameters,
    test_values_out_of_range_are_clamped_and_said,
    test_a_message_that_does_not_fit_is_cut_and_said,
    test_values_that_are_no_numbers_are_refused,
    test_an_open_device_holds_the_module,
    test_devices_of_every_size,
]
# Leaks before what starves the kernel: without memory for its own kmemleak gives up.
ALL_TESTS = [*MODULE_TESTS, *FAULT_TESTS, *HOLDER_TESTS, *STRESS_TESTS, *LEAK_TESTS, *STARVE_TESTS]
TESTS = {test.__name__: test for test in ALL_TESTS}


def with_clean_log(test: Callable[[str], None], module: str) -> None:
    log = KernelLog()
    try:
        test(module)
    finally:
        trouble = [line for line in log.lines() if TROUBLE.search(line)]
        log.close()
        for line in trouble:
            print(f"# {line}")
    expect("trouble in the kernel log", [], trouble)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("module", help="the file to load")
    parser.add_argument("--only", nargs="+", choices=TESTS, default=list(TESTS), metavar="TEST")
    given = parser.parse_args()
    if os.geteuid() != 0 or SYSFS.exists():
        parser.error(
            f"expected uid 0, seen {os.geteuid()}; expected no {SYSFS}, seen: {SYSFS.exists()}; next: rmmod {NAME}"
        )
    tests = {name: test for name, test in TESTS.items() if name in given.only}
    return run([(name, partial(with_clean_log, test, given.module)) for name, test in tests.items()]) > 0


if __name__ == "__main__":
    sys.exit(main())
