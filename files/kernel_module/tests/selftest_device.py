# SPDX-License-Identifier: Apache-2.0
"""What a device of the loaded module does, tried from user space. Prints TAP; exit status 1 if a test failed.

Usage: selftest_device.py /dev/ptemplate-3      (its content is lost; needs no more than that device and /sys)
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import fcntl
import os
import select
import stat
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

SYSFS = Path("/sys/module/ptemplate_char_dev")
# Of ptemplate.h; test_header.py compares them.
IOC_QUERY, IOC_RESET = 0x8040E700, 0xE701
INFO = struct.Struct("=4I2Q32s")
FIELDS = ("version", "devices", "index", "health", "capacity", "size", "reserved")
LIBC = ctypes.CDLL(None, use_errno=True)
THREADS = 8
Test = Callable[[], None]


class Failed(Exception):
    """What was expected, and what was seen."""


class Skipped(Exception):
    """Why this kernel or machine cannot run the test."""


def expect(what: str, wanted: object, seen: object) -> None:
    if wanted != seen:
        raise Failed(f"{what}: expected {str(wanted)[:200]}, seen {str(seen)[:200]}")


def expect_error(what: str, number: int, call: Callable[[], object]) -> None:
    try:
        seen: object = call()
    except OSError as error:
        seen = errno.errorcode.get(error.errno or 0)
    expect(what, errno.errorcode[number], seen)


def parameter(name: str) -> str:
    return (SYSFS / "parameters" / name).read_text().rstrip("\n")


@contextlib.contextmanager
def opened(path: str, flags: int = os.O_RDWR) -> Iterator[int]:
    handle = os.open(path, flags)
    try:
        yield handle
    finally:
        os.close(handle)


def query(handle: int) -> dict[str, int]:
    values = INFO.unpack(fcntl.ioctl(handle, IOC_QUERY, bytes(INFO.size)))
    return dict(zip(FIELDS, values, strict=True))


def reset(handle: int) -> None:
    fcntl.ioctl(handle, IOC_RESET)


def reset_file(path: str) -> Path:
    return Path("/sys/class/ptemplate") / Path(path).name / "reset"


def reset_unused(path: str, word: bytes = b"1") -> None:
    """By root, through sysfs. Opened without O_CREAT, which is another error when the device has gone."""
    with opened(str(reset_file(path)), os.O_WRONLY) as handle:
        os.write(handle, word)


def content(path: str) -> bytes:
    return Path(path).read_bytes()


def test_open_with_truncation_replaces_the_content(path: str, capacity: int) -> None:
    for text in (b"hello world"[:capacity], b"new"[:capacity], b""):
        with opened(path, os.O_WRONLY | os.O_TRUNC) as handle:
            expect("write", len(text), os.write(handle, text))
        expect("content", text, content(path))


def test_write_without_truncation_changes_only_its_bytes(path: str, capacity: int) -> None:
    Path(path).write_bytes(b"abcdef"[:capacity])
    with opened(path, os.O_WRONLY) as handle:
        os.write(handle, b"X")
    expect("content", b"Xbcdef"[:capacity], content(path))


def test_reads_go_on_until_the_end(path: str, capacity: int) -> None:
    Path(path).write_bytes(b"12345")
    with opened(path) as handle:
        seen = [os.read(handle, 2) for _ in range(4)]
        expect("reads of 2 bytes", [b"12", b"34", b"5", b""], seen)
        expect("read at a place", b"34", os.pread(handle, 2, 2))
        expect("read far behind the end", b"", os.pread(handle, 1, 2**62))
        buffers = [bytearray(2), bytearray(9)]
        expect("read into two buffers", (5, b"12", b"345"), (os.preadv(handle, buffers, 0), *trimmed(buffers, 5)))


def trimmed(buffers: list[bytearray], count: int) -> list[bytes]:
    return [bytes(buffers[0]), bytes(buffers[1][: count - len(buffers[0])])]


def test_a_device_is_full_at_its_size(path: str, capacity: int) -> None:
    with opened(path, os.O_RDWR | os.O_TRUNC) as handle:
        expect("write of all and more", capacity, os.write(handle, b"x" * (capacity + 10)))
        expect_error("write at the end", errno.ENOSPC, lambda: os.write(handle, b"y"))
        expect_error("write far behind the end", errno.ENOSPC, lambda: os.pwrite(handle, b"y", 2**62))
        expect("write of nothing at the end", 0, os.pwrite(handle, b"", capacity))
        expect("write across the end", 1, os.pwrite(handle, b"zz", capacity - 1))
        expect("content", b"x" * (capacity - 1) + b"z", content(path))


def test_a_hole_reads_as_zeros(path: str, capacity: int) -> None:
    Path(path).write_bytes(b"secret" * (capacity // 6))
    with opened(path, os.O_RDWR | os.O_TRUNC) as handle:
        os.pwrite(handle, b"x", capacity - 1)
        expect("content", bytes(capacity - 1) + b"x", os.pread(handle, capacity, 0))


def test_seek(path: str, capacity: int) -> None:
    Path(path).write_bytes(b"12345")
    with opened(path) as handle:
        expect("seek to the end of the data", 5, os.lseek(handle, 0, os.SEEK_END))
        expect("seek back", 3, os.lseek(handle, -2, os.SEEK_CUR))
        expect("read there", b"45", os.read(handle, 10))
        expect("seek to the end of the device", capacity, os.lseek(handle, capacity, os.SEEK_SET))
        expect_error("seek behind it", errno.EINVAL, lambda: os.lseek(handle, capacity + 1, os.SEEK_SET))
        expect_error("seek before the start", errno.EINVAL, lambda: os.lseek(handle, -6, os.SEEK_END))
        expect("the position after that", capacity, os.lseek(handle, 0, os.SEEK_CUR))


def test_append(path: str, capacity: int) -> None:
    Path(path).write_bytes(b"one")
    with opened(path, os.O_WRONLY | os.O_APPEND) as handle:
        os.write(handle, b"two")
        os.write(handle, b"three")
    expect("content", b"onetwothree", content(path))


def test_bad_memory_and_unknown_calls_are_refused(path: str, capacity: int) -> None:
    Path(path).write_bytes(b"abc")
    with opened(path) as handle:
        for call in (LIBC.write, LIBC.read):
            seen = call(handle, ctypes.c_void_p(1), ctypes.c_size_t(3))
            expect(f"{call.__name__} with a bad address", (-1, errno.EFAULT), (seen, ctypes.get_errno()))
        expect("the position after that", 0, os.lseek(handle, 0, os.SEEK_CUR))
        expect_error("unknown ioctl", errno.ENOTTY, lambda: fcntl.ioctl(handle, 0x5401))
    expect("content", b"abc", content(path))


def test_query_tells_limits(path: str, capacity: int) -> None:
    Path(path).write_bytes(b"abc")
    with opened(path, os.O_RDONLY) as handle:
        wanted = {
            "version": 1,
            "devices": int(parameter("max_dev")),
            "index": int(path.rpartition("-")[2]),
            "health": 0,
            "capacity": capacity,
            "size": 3,
            "reserved": bytes(32),
        }
        expect("query", wanted, query(handle))
        seen = LIBC.ioctl(handle, ctypes.c_ulong(IOC_QUERY), ctypes.c_void_p(1))
        expect("query to a bad address", (-1, errno.EFAULT), (seen, ctypes.get_errno()))


def test_reset_brings_the_first_content_back(path: str, capacity: int) -> None:
    with opened(path, os.O_RDWR | os.O_TRUNC) as handle, opened(path, os.O_RDONLY) as reader:
        os.write(handle, b"other")
        expect_error("reset by a reader", errno.EBADF, lambda: reset(reader))
        expect("content", b"other", content(path))
        reset(handle)
        expect("content", parameter("default_msg").encode()[:capacity], content(path))
        expect("the position stays", 5, os.lseek(handle, 0, os.SEEK_CUR))


def test_reset_by_root_when_nobody_has_it_open(path: str, capacity: int) -> None:
    file = reset_file(path)
    expect("permissions of reset", 0o200, stat.S_IMODE(file.stat().st_mode))
    if not os.access(file, os.W_OK):
        raise Skipped("sysfs is not writable here")
    with opened(path, os.O_RDWR | os.O_TRUNC) as handle:
        os.write(handle, b"other")
        expect_error("while it is open", errno.EBUSY, lambda: reset_unused(path))
    for wrong in (b"0", b"maybe"):
        expect_error(f"writing {wrong!r}", errno.EINVAL, partial(reset_unused, path, wrong))
    expect("content", b"other"[:capacity], content(path))
    reset_unused(path)
    expect("content", parameter("default_msg").encode()[:capacity], content(path))


def test_poll_says_ready(path: str, capacity: int) -> None:
    with opened(path) as handle:
        poll = select.poll()
        poll.register(handle, select.POLLIN | select.POLLOUT)
        expect("poll", [(handle, select.POLLIN | select.POLLOUT)], poll.poll(0))


def in_threads(work: Callable[[int], None]) -> None:
    """Runs work(0) … work(7) at a time; the first failure is the test's."""
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_no_read_sees_half_a_write(path: str, capacity: int) -> None:
    Path(path).write_bytes(b"0" * capacity)

    def work(number: int) -> None:
        with opened(path) as handle:
            for turn in range(200):
                if number % 2:
                    expect("write", capacity, os.pwrite(handle, bytes([65 + (turn + number) % 26]) * capacity, 0))
                else:
                    data = os.pread(handle, capacity, 0)
                    expect("read", (capacity, 1), (len(data), len(set(data))))

    in_threads(work)


def test_threads_that_share_an_open_file_lose_no_record(path: str, capacity: int) -> None:
    each = min(16, capacity // THREADS)
    with opened(path, os.O_RDWR | os.O_TRUNC) as handle:

        def work(number: int) -> None:
            for _ in range(each):
                expect("write", 1, os.write(handle, bytes([65 + number])))

        in_threads(work)
    wanted = {65 + number: each for number in range(THREADS)}
    data = content(path)
    expect("records of each thread", wanted, {number: data.count(number) for number in wanted})


DEVICE_TESTS = [
    test_open_with_truncation_replaces_the_content,
    test_write_without_truncation_changes_only_its_bytes,
    test_reads_go_on_until_the_end,
    test_a_device_is_full_at_its_size,
    test_a_hole_reads_as_zeros,
    test_seek,
    test_append,
    test_bad_memory_and_unknown_calls_are_refused,
    test_query_tells_limits,
    test_reset_brings_the_first_content_back,
    test_reset_by_root_when_nobody_has_it_open,
    test_poll_says_ready,
    test_no_read_sees_half_a_write,
    test_threads_that_share_an_open_file_lose_no_record,
]


def run(tests: list[tuple[str, Test]]) -> int:
    """Prints TAP version 13; returns how many failed."""
    failures = 0
    print(f"TAP version 13\n1..{len(tests)}", flush=True)
    for number, (name, test) in enumerate(tests, 1):
        start, result, detail = time.monotonic(), "ok", ""
        try:
            test()
        except Skipped as reason:
            detail = f" # SKIP {reason}"
        except Exception as error:
            result, detail, failures = "not ok", f"\n# {type(error).__name__}: {error}", failures + 1
        title = name.removeprefix("test_").replace("_", " ")
        print(f"{result} {number} - {title} ({time.monotonic() - start:.1f} s){detail}", flush=True)
    return failures


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("device")
    device, size = parser.parse_args().device, int(parameter("buffersize"))
    return run([(test.__name__, partial(test, device, size)) for test in DEVICE_TESTS]) > 0


if __name__ == "__main__":
    sys.exit(main())
