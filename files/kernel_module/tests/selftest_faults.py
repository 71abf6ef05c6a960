# SPDX-License-Identifier: Apache-2.0
"""The functional suite's part for what goes wrong: faults, health, removal, and who learns of it."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import stat
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from selftest_device import Skipped, content, expect, expect_error, opened, query, reset, reset_unused
from selftest_load import CLASS, DEBUGFS, health, loaded, nodes, rmmod, set_fault, statistics

DEVICE = "/dev/ptemplate-0"
FAULTS = ("faults=1", "max_dev=2", "default_msg=hello")
NETLINK_KOBJECT_UEVENT = 15


def need_debugfs() -> None:
    if not DEBUGFS.parent.is_mount():
        raise Skipped(f"no debugfs at {DEBUGFS.parent}")


@contextlib.contextmanager
def reading(handle: int) -> Iterator[list[object]]:
    """A thread that reads once; its answer, or the error's name, is in the list when it has one."""
    seen: list[object] = []

    def read() -> None:
        try:
            seen.append(os.pread(handle, 100, 0))
        except OSError as error:
            seen.append(errno.errorcode[error.errno or 0])

    thread = threading.Thread(target=read)
    thread.start()
    yield seen
    thread.join(10)
    expect("the reader came back", False, thread.is_alive())


def events(handle: int, wait: int = 0) -> int:
    """What poll says of it."""
    poll = select.poll()
    poll.register(handle, select.POLLIN | select.POLLOUT | select.POLLPRI)
    return dict(poll.poll(wait)).get(handle, 0)


READY = select.POLLIN | select.POLLOUT


def test_faults_are_off_unless_asked_for(module: str) -> None:
    need_debugfs()
    with loaded(module, "max_dev=2"):
        expect("what debugfs has", ["holders"], sorted(path.name for path in DEBUGFS.iterdir()))
    with loaded(module, *FAULTS):
        expect("what debugfs has", ["holders", "ptemplate-0", "ptemplate-1"], sorted(p.name for p in DEBUGFS.iterdir()))
        fault = DEBUGFS / "ptemplate-0/fault"
        expect("permissions of fault", 0o600, stat.S_IMODE(fault.stat().st_mode))
        expect("fault", "none\n", fault.read_text())
        for wrong in ("", "nonsense", "hang none", "x" * 100):
            expect_error(f"writing {wrong[:10]!r}", errno.EINVAL, partial(set_fault, wrong))
        expect("health", "ok", health())


def test_error(module: str) -> None:
    need_debugfs()
    with loaded(module, *FAULTS), opened(DEVICE) as handle, opened("/dev/ptemplate-1") as other:
        set_fault("error")
        for what, call in {
            "read": lambda: os.pread(handle, 10, 0),
            "write": lambda: os.pwrite(handle, b"x", 0),
            "reset": lambda: reset(handle),
        }.items():
            expect_error(what, errno.EIO, call)
        expect("health", ("failed", 1), (health(), query(handle)["health"]))
        expect("poll", select.POLLERR | READY, events(handle))
        expect("errors", 3, statistics()["errors"])
        expect(
            "the other device", (b"hello", "ok", READY), (os.pread(other, 9, 0), health("ptemplate-1"), events(other))
        )
        set_fault("none")
        expect("after it", (b"hello", "ok", READY), (os.pread(handle, 9, 0), health(), events(handle)))


def test_hang_ends_with_the_fault(module: str) -> None:
    need_debugfs()
    with loaded(module, *FAULTS), opened(DEVICE) as handle, opened(DEVICE, os.O_RDWR | os.O_NONBLOCK) as impatient:
        set_fault("hang")
        expect("poll", 0, events(handle, 50))
        expect("health", ("hung", 2), (health(), query(handle)["health"]))
        expect_error("read with O_NONBLOCK", errno.EAGAIN, lambda: os.read(impatient, 1))
        expect_error("write with O_NONBLOCK", errno.EAGAIN, lambda: os.write(impatient, b"x"))
        with reading(handle) as seen:
            time.sleep(0.2)
            expect("the read waits", [], seen)
            set_fault("none")
        expect("the read after it", [b"hello"], seen)
        with reading(handle) as seen:  # from one fault into another
            set_fault("hang")
            time.sleep(0.1)
            set_fault("none")
        expect("the read after it", [b"hello"], seen)


def test_a_device_that_is_not_well_is_not_reset(module: str) -> None:
    need_debugfs()
    with loaded(module, *FAULTS):
        Path(DEVICE).write_bytes(b"other")
        for fault, number in {"error": errno.EIO, "hang": errno.EAGAIN}.items():
            set_fault(fault)
            expect_error(f"reset with the fault {fault}", number, lambda: reset_unused(DEVICE))
        expect("errors", 1, statistics()["errors"])
        set_fault("none")
        expect("content", b"other", content(DEVICE))
        with opened(DEVICE):  # of the device as it was before its removal: it holds nobody up
            set_fault("removed")
            set_fault("none")
            Path(DEVICE).write_bytes(b"other")
            reset_unused(DEVICE)
        expect("content", b"hello", content(DEVICE))


def test_hang_ends_with_a_signal(module: str) -> None:
    need_debugfs()
    with loaded(module, *FAULTS):
        set_fault("hang")
        for number in (signal.SIGTERM, signal.SIGKILL):
            child = os.fork()
            if child == 0:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                with contextlib.suppress(OSError):
                    os.read(os.open(DEVICE, os.O_RDONLY), 1)
                os._exit(0)
            time.sleep(0.2)
            os.kill(child, number)
            start = time.monotonic()
            expect("end of the child", number, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) * -1)
            expect("it ended at once", True, time.monotonic() - start < 2)


def test_corrupted_data_is_for_the_reader_to_notice(module: str) -> None:
    need_debugfs()
    with loaded(module, *FAULTS), opened(DEVICE) as handle:
        set_fault("corrupt")
        os.pwrite(handle, b"12345678", 0)
        for count in (8, 1):
            data = os.pread(handle, count, 0)
            wrong = sum(bin(a ^ b).count("1") for a, b in zip(data, b"12345678"[:count], strict=True))
            expect(f"wrong bits in {count} bytes", 1, wrong)
        expect("a read at the end", b"", os.pread(handle, 8, 8))
        expect("health", "ok", health())
        set_fault("none")
        expect("after it", b"12345678", os.pread(handle, 9, 0))


def test_removal_and_return(module: str) -> None:
    need_debugfs()
    with loaded(module, *FAULTS):
        with opened(DEVICE) as handle:
            os.pwrite(handle, b"old", 0)
            number = os.fstat(handle).st_rdev
            set_fault("removed")
            expect("nodes", ["ptemplate-1"], nodes())
            expect("sysfs", False, (CLASS / "ptemplate-0").exists())
            expect_gone(handle)
            os.mknod("/dev/by-hand-ptemplate", 0o600 | stat.S_IFCHR, number)
            expect_error("open by its number", errno.ENODEV, lambda: os.open("/dev/by-hand-ptemplate", os.O_RDWR))
            os.unlink("/dev/by-hand-ptemplate")
            set_fault("none")
            expect("nodes", ["ptemplate-0", "ptemplate-1"], nodes())
            expect_gone(handle)
            expect("content of what came back", b"hello", content(DEVICE))
            with opened(DEVICE) as fresh:
                expect("write to what came back", 3, os.write(fresh, b"new"))
            expect("rmmod with the old file open", 1, rmmod().returncode)
        set_fault("removed")  # and the module goes while it is away
        set_fault("removed")


def expect_gone(handle: int) -> None:
    for what, call in {
        "read": lambda: os.pread(handle, 1, 0),
        "write": lambda: os.pwrite(handle, b"x", 0),
        "lseek": lambda: os.lseek(handle, 0, os.SEEK_END),
        "query": lambda: query(handle),
        "reset": lambda: reset(handle),
    }.items():
        expect_error(f"{what} on a removed device", errno.ENODEV, call)
    expect("poll on a removed device", select.POLLERR | select.POLLHUP, events(handle))


def test_removal_wakes_who_waits(module: str) -> None:
    need_debugfs()
    with loaded(module, *FAULTS), opened(DEVICE) as handle:
        set_fault("hang")
        with reading(handle) as seen:
            time.sleep(0.1)
            set_fault("removed")
        expect("the read", ["ENODEV"], seen)
        set_fault("hang")
        expect("it came back with that fault", "hung", health())
        set_fault("none")


def test_removals_while_others_use_it(module: str) -> None:
    need_debugfs()
    stop = threading.Event()
    wrong: list[BaseException] = []

    def use() -> None:
        allowed = (errno.ENODEV, errno.EIO, errno.ENOENT, errno.ENXIO, errno.EAGAIN, errno.EBUSY)
        while not stop.is_set():
            try:
                with opened(DEVICE, os.O_RDWR | os.O_NONBLOCK) as handle:
                    for _ in range(20):
                        os.pwrite(handle, b"x" * 50, 0)
                        os.pread(handle, 50, 0)
                        query(handle)
                (CLASS / "ptemplate-0/health").read_text()
                reset_unused(DEVICE)
                (DEBUGFS / "holders").read_text()
            except OSError as error:
                if error.errno not in allowed:
                    wrong.append(error)
                    return

    with loaded(module, *FAULTS):
        threads = [threading.Thread(target=use) for _ in range(4)]
        for thread in threads:
            thread.start()
        for turn in range(100):
            set_fault(("removed", "none", "removed", "error", "hang", "none")[turn % 6])
        stop.set()
        for thread in threads:
            thread.join(20)
        expect("errors that others saw", [], wrong)
        expect("threads that came back", 4, sum(not thread.is_alive() for thread in threads))
        set_fault("none")
        expect("content", True, content(DEVICE) in (b"hello", b"x" * 50))


class Uevents:
    """The kernel's own broadcasts of our devices."""

    def __init__(self) -> None:
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_KOBJECT_UEVENT)
            self._socket.bind((0, 1))
        except OSError as error:
            raise Skipped(f"no uevents here: {error}") from error
        self._socket.settimeout(0.3)

    def take(self) -> list[tuple[str, str, str]]:
        """Action, device and health of each since the last call."""
        seen: list[tuple[str, str, str]] = []
        while True:
            try:
                head, *rest = self._socket.recv(8192).decode(errors="replace").split("\0")
            except TimeoutError:
                return seen
            values = dict(word.split("=", 1) for word in rest if "=" in word)
            if values.get("SUBSYSTEM") == "ptemplate" and head.rpartition("/")[2].startswith("ptemplate-"):
                seen.append((values["ACTION"], values["DEVNAME"].rpartition("/")[2], values.get("HEALTH", "")))

    def close(self) -> None:
        self._socket.close()


def test_user_space_learns_of_health_without_asking(module: str) -> None:
    need_debugfs()
    uevents = Uevents()
    with loaded(module, *FAULTS), opened(str(CLASS / "ptemplate-0/health"), os.O_RDONLY) as watched:
        uevents.take()
        os.read(watched, 20)
        for fault, wanted in {
            "error": [("change", "ptemplate-0", "failed")],
            "hang": [("change", "ptemplate-0", "hung")],
            "corrupt": [("change", "ptemplate-0", "ok")],
            "none": [],  # its health did not change
        }.items():
            before = events(watched)
            set_fault(fault)
            expect(
                f"poll of sysfs before and after {fault}", (False, bool(wanted)), (pri(before), pri(events(watched)))
            )
            os.pread(watched, 20, 0)
            expect(f"uevents of {fault}", wanted, uevents.take())
        set_fault("removed")
        gone = [("change", "ptemplate-0", "removed"), ("remove", "ptemplate-0", "")]
        expect("uevents of removal", gone, uevents.take())
        set_fault("none")
        back = [("add", "ptemplate-0", ""), ("change", "ptemplate-0", "ok")]
        expect("uevents of return", back, uevents.take())
    uevents.close()


def pri(seen: int) -> bool:
    return bool(seen & select.POLLPRI)


def test_counters(module: str) -> None:
    with loaded(module, "max_dev=1", "buffersize=8"):
        names = ["bytes_read", "bytes_written", "errors", "opens", "reads", "writes"]
        expect("at first", dict.fromkeys(names, 0), dict(sorted(statistics().items())))
        folder = CLASS / "ptemplate-0/statistics"
        expect("permissions", {0o444}, {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()})
        with opened(DEVICE) as handle:
            os.pwrite(handle, b"12345", 0)
            os.pwrite(handle, b"12345", 5)  # three of them fit
            with contextlib.suppress(OSError):
                os.pwrite(handle, b"1", 8)  # none does: not counted
            os.pread(handle, 100, 0)
            os.pread(handle, 100, 8)  # at the end: a read of nothing
        wanted = {"bytes_read": 8, "bytes_written": 8, "errors": 0, "opens": 1, "reads": 2, "writes": 2}
        expect("after some use", wanted, dict(sorted(statistics().items())))
        expect("health", "ok\n", Path(CLASS / "ptemplate-0/health").read_text())


FAULT_TESTS = [
    test_counters,
    test_faults_are_off_unless_asked_for,
    test_error,
    test_hang_ends_with_the_fault,
    test_a_device_that_is_not_well_is_not_reset,
    test_hang_ends_with_a_signal,
    test_corrupted_data_is_for_the_reader_to_notice,
    test_removal_and_return,
    test_removal_wakes_who_waits,
    test_removals_while_others_use_it,
    test_user_space_learns_of_health_without_asking,
]
