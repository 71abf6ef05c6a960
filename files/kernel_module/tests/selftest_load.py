# SPDX-License-Identifier: Apache-2.0
"""Loading and unloading the module, and what the kernel says meanwhile: helpers of the functional suite."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from selftest_device import LIBC, SYSFS, expect, opened

NAME = SYSFS.name
DEBUGFS = Path("/sys/kernel/debug/ptemplate")
CLASS = Path("/sys/class/ptemplate")
X86 = os.uname().machine == "x86_64"
FINIT_MODULE, DELETE_MODULE = (313, 176) if X86 else (273, 106)  # glibc has no functions for them
TROUBLE = re.compile(
    r"KASAN|BUG:|WARNING:|Oops|UBSAN|possible recursive|circular locking|INFO: (task|rcu)|refcount_t:"
    r"|list_(add|del) corruption"
)


class KernelLog:
    """What the kernel said since this was made."""

    def __init__(self) -> None:
        self._handle = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self._handle, 0, os.SEEK_END)

    def lines(self) -> list[str]:
        """What came since the last call."""
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

    def close(self) -> None:
        os.close(self._handle)


def insmod(module: str, *parameters: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["insmod", module, *parameters], capture_output=True, text=True)


def rmmod() -> subprocess.CompletedProcess[str]:
    return subprocess.run(["rmmod", NAME], capture_output=True, text=True)


def load(module: str, parameters: bytes = b"") -> int:
    """Without the processes that insmod takes, and for any bytes."""
    with opened(module, os.O_RDONLY) as handle:
        return load_open(handle, parameters)


def load_open(handle: int, parameters: bytes) -> int:
    """The bare call's result."""
    return int(LIBC.syscall(FINIT_MODULE, handle, parameters, 0))


def unload() -> int:
    return int(LIBC.syscall(DELETE_MODULE, NAME.encode(), os.O_NONBLOCK))


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
    expect("the class after unloading", False, CLASS.exists())
    expect("debugfs after unloading", False, DEBUGFS.exists())
    expect("the device numbers after unloading", False, "ptemplate" in Path("/proc/devices").read_text())


def nodes() -> list[str]:
    return sorted((path.name for path in Path("/dev").glob("ptemplate-*")), key=lambda name: int(name[10:]))


def set_fault(value: str, device: str = "ptemplate-0") -> None:
    with opened(str(DEBUGFS / device / "fault"), os.O_WRONLY) as handle:
        os.write(handle, value.encode() + b"\n")


def health(device: str = "ptemplate-0") -> str:
    return (CLASS / device / "health").read_text().strip()


def statistics(device: str = "ptemplate-0") -> dict[str, int]:
    return {path.name: int(path.read_text()) for path in (CLASS / device / "statistics").iterdir()}


def holders() -> list[dict[str, str]]:
    """One for each line of the driver's list: README.md has the format."""
    lines = (DEBUGFS / "holders").read_text().splitlines()
    return [dict(word.split("=", 1) for word in line.split(" ")) for line in lines]
