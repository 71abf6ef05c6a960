# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import socket
import threading
import time

import pytest

from accelerator_device_plugin import uevent
from accelerator_device_plugin.watch import Watch

OURS = (
    b"change@/devices/virtual/toy/toy-3\0ACTION=change\0DEVPATH=/devices/virtual/toy/toy-3\0SUBSYSTEM=toy\0"
    b"HEALTH=failed\0MAJOR=10\0MINOR=203\0DEVNAME=toy-3\0SEQNUM=4711\0"
)
OTHER = b"add@/devices/virtual/net/veth1\0ACTION=add\0SUBSYSTEM=net\0INTERFACE=veth1\0SEQNUM=4712\0"


@pytest.mark.parametrize(
    ("message", "ours"),
    [
        (OURS, True),
        (OTHER, False),
        (OURS.replace(b"DEVNAME=toy-3", b"DEVNAME=watchdog"), False),
        (b"", False),
        (b"\xff\xfe\0DEVNAME=\xff\0", False),
        (b"DEVNAME", False),
    ],
)
def test_a_uevent_is_ours_by_the_name_of_its_node(message: bytes, ours: bool) -> None:
    assert uevent.concerns(message, "/dev/toy-*") is ours


def test_only_our_uevents_end_a_wait() -> None:
    kernel, events = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    events.setblocking(False)
    watch = Watch()
    watch.listen(events.fileno(), lambda: uevent.news(events, "/dev/toy-*"))

    kernel.send(OTHER)
    start = time.monotonic()
    watch.wait(0.3)
    assert time.monotonic() - start >= 0.3

    def tell() -> None:
        kernel.send(OTHER)
        kernel.send(OURS)
        kernel.send(OTHER)

    telling = threading.Timer(0.1, tell)
    telling.start()
    start = time.monotonic()
    watch.wait(120)
    assert time.monotonic() - start < 60, "what concerns us ends the wait"
    telling.join()
    assert not uevent.news(events, "/dev/toy-*"), "ours was taken"
    watch.close()
    kernel.close()
    events.close()


def test_lost_uevents_may_have_been_ours() -> None:
    class Overrun:
        answers = [OSError(105, "No buffer space available"), BlockingIOError()]  # noqa: RUF012

        def recv(self, size: int) -> bytes:
            raise self.answers.pop(0)

    assert uevent.news(Overrun(), "/dev/toy-*")  # type: ignore[arg-type]


def test_a_socket_of_no_use_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    other, events = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    other.send(OURS)

    def forbidden() -> bool:
        raise PermissionError(13, "Permission denied")

    watch = Watch()
    watch.listen(events.fileno(), forbidden)
    watch.wait(10)
    start = time.monotonic()
    watch.wait(0.2)
    assert time.monotonic() - start >= 0.2
    assert caplog.text.count("no more uevents: Permission denied") == 1
    for one in (watch, other, events):
        one.close()


def test_the_kernels_socket_can_be_had_or_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    events = uevent.listen()
    if events is None:
        assert "no uevents: " in caplog.text
    else:
        assert uevent.news(events, "/dev/no-such-*") is False
        events.close()
