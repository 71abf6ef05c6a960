# SPDX-License-Identifier: Apache-2.0
"""What is done with a container's devices before it starts: a look, a reset, another look."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import grpc
import pytest
from conftest import Host, Running
from deviceplugin_v1beta1 import api_pb2
from fake_kubelet import FakeKubelet, until

from accelerator_device_plugin.discovery import Device
from accelerator_device_plugin.handover import Handover
from accelerator_device_plugin.health import Evidence, Policy
from accelerator_device_plugin.reset import Resets, reset
from accelerator_device_plugin.service import DevicePlugin, Grant

Start = Callable[..., Running]
A, B, C = (Device(key, f"/dev/toy-{key}") for key in "abc")
GOOD = Evidence(exists=True, character=True, name="toy", kernel_name="toy")


def test_the_last_look_before_a_container_starts(host: Host, kubelet: FakeKubelet, start: Start) -> None:
    host.add(0)
    host.say(0, "ok")
    start(grant=Grant("rw", "toy", pre_start=True), health_file="health", interval=60)
    until(lambda: kubelet.devices() == {"0": "Healthy"}, "the device")
    assert kubelet.registrations[0].options.pre_start_required
    plugin = kubelet.dial(kubelet.registrations[0].endpoint)
    request = api_pb2.PreStartContainerRequest(devices_ids=["0"])
    plugin.PreStartContainer(request, timeout=60)
    file = host.sysfs / "dev/char/10:200/health"
    (file.with_name("quiet")).write_text("failed\n")
    file.with_name("quiet").replace(file)  # no event tells
    with pytest.raises(grpc.RpcError, match=r"device '0' .*(DriverReportsFault|is unhealthy)"):
        plugin.PreStartContainer(request, timeout=60)


def test_devices_are_reset_before_a_container_starts(host: Host, kubelet: FakeKubelet, start: Start) -> None:
    for key in (0, 1):
        host.add(key)
    running = start(grant=Grant("rw", "toy", pre_start=True), reset_file="device/reset", interval=60)
    until(lambda: kubelet.devices() == dict.fromkeys("01", "Healthy"), "the devices")
    plugin = kubelet.dial(kubelet.registrations[0].endpoint)

    def before_start(*keys: str) -> None:
        plugin.PreStartContainer(api_pb2.PreStartContainerRequest(devices_ids=keys), timeout=60)

    files = [host.sysfs / f"dev/char/10:{200 + key}/device/reset" for key in (0, 1)]
    with pytest.raises(
        grpc.RpcError, match=r"'1' \(/dev/toy-1\) could not be reset: .*/device/reset: No such file"
    ):
        before_start("1")
    for file in files:
        file.parent.mkdir()
        file.touch()
    before_start("1")
    assert [file.read_text() for file in files] == ["", "1"]
    before_start("0", "1")
    assert [file.read_text() for file in files] == ["1", "1"]
    text = running.app.metrics.text().decode()
    assert 'pre_starts_total{resource="example.com/toy",result="granted"} 2.0' in text
    assert 'pre_starts_total{resource="example.com/toy",result="refused"} 1.0' in text


def test_a_reset_that_hangs_holds_up_that_device_alone(
    host: Host, kubelet: FakeKubelet, start: Start
) -> None:
    for key in (0, 1):
        host.add(key)
    hanging, good = (host.sysfs / f"dev/char/10:{200 + key}/reset" for key in (0, 1))
    os.mkfifo(hanging)  # nobody reads it: the open does not end
    good.touch()
    start(grant=Grant("rw", "toy", pre_start=True), reset_file="reset", interval=60)
    until(lambda: kubelet.devices() == dict.fromkeys("01", "Healthy"), "the devices")
    plugin = kubelet.dial(kubelet.registrations[0].endpoint)
    for why, patience in (("not ended within 1 s", 6), ("an earlier reset has not ended", 60)):
        with pytest.raises(grpc.RpcError, match=f"device '0' .* could not be reset: {why}"):
            plugin.PreStartContainer(api_pb2.PreStartContainerRequest(devices_ids=["0"]), timeout=patience)
        plugin.PreStartContainer(api_pb2.PreStartContainerRequest(devices_ids=["1"]), timeout=60)

    def well() -> bool:
        try:
            plugin.PreStartContainer(api_pb2.PreStartContainerRequest(devices_ids=["0"]), timeout=60)
        except grpc.RpcError:
            return False
        return True

    reader = os.open(hanging, os.O_RDWR)  # it ends after all
    until(well, "the device can be reset again")
    assert set(os.read(reader, 9)) == set(b"1")
    os.close(reader)


def test_slow_resets_of_a_container_run_at_a_time() -> None:
    def slow(device: Device) -> str:
        time.sleep(0.3)
        return ""

    devices = [Device(str(number), f"/dev/toy-{number}") for number in range(20)]
    begin = time.monotonic()
    assert Resets(slow, str).all(devices, 60) == dict.fromkeys(devices, "")
    assert time.monotonic() - begin < 20 * 0.3


def test_no_reset_is_begun_after_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor while another of that device is under way: it would end in the next container's work."""
    monkeypatch.setattr("accelerator_device_plugin.reset._THREADS", 1)
    go_on, begun = threading.Event(), []

    def work(device: Device) -> str:
        begun.append(device)
        return "" if go_on.wait(60) else "never told to go on"

    resets = Resets(work, str)
    assert resets.all([A, B], 0.2) == dict.fromkeys([A, B], "not ended within 0 s")
    assert resets.all([A], 0.2) == {A: "an earlier reset has not ended"}
    go_on.set()
    until(lambda: resets.all([A], 60) == {A: ""}, "the earlier one has ended")
    assert B not in begun
    assert resets.all([B], 60) == {B: ""}


def test_a_device_that_is_still_open_is_given_a_moment(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.add(0)
    file = host.sysfs / "dev/char/10:200/reset"
    file.touch()
    tries: list[int] = []
    write = os.write

    def busy(descriptor: int, data: bytes) -> int:
        tries.append(descriptor)
        if len(tries) < 3:
            raise OSError(16, os.strerror(16))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", busy)
    device = Device("0", "/dev/toy-0")
    assert reset(host.root, host.sysfs, "reset", device) == ""
    assert (len(tries), file.read_text()) == (3, "1")
    monkeypatch.setattr("accelerator_device_plugin.reset._BUSY", 0.0)
    tries.clear()
    assert reset(host.root, host.sysfs, "reset", device) == f"{file}: Device or resource busy"
    assert (
        reset(host.root, host.sysfs, "reset", Device("1", "/dev/toy-1"))
        == "/dev/toy-1: No such file or directory"
    )


def test_what_is_no_longer_ours_is_not_reset() -> None:
    """The device's number may belong to another driver by now."""
    looked: list[Evidence | None] = [
        Evidence(exists=True, character=True, name="toy", kernel_name="other"),
        GOOD,
        None,
    ]
    done: list[Device] = []

    def work(device: Device) -> str:
        done.append(device)
        return ""

    handover = Handover(lambda devices: {A: looked.pop(0)}, Policy(), Resets(work, lambda device: device.id))
    assert "OtherDriver" in handover.hindrance([A], [A], 60)
    assert done == []
    assert "NoAnswer" in handover.hindrance([A], [A], 60)  # well before its reset, and silent after it
    assert done == [A]


def test_a_reset_that_two_devices_share_needs_both() -> None:
    places = {A: "/sys/one", B: "/sys/one", C: "/sys/two"}
    handover = Handover(
        lambda devices: dict.fromkeys(devices, GOOD), Policy(), Resets(lambda device: "", places.__getitem__)
    )
    assert "/sys/one resets /dev/toy-b too, which is not this container's" in handover.hindrance(
        [A], [A, B, C], 60
    )
    assert handover.hindrance([A, B], [A, B, C], 60) == ""
    assert handover.hindrance([C], [A, B, C], 60) == ""


def test_some_threads_are_left_for_the_kubelet_s_other_calls(
    host: Host, kubelet: FakeKubelet, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def slow(*given: object) -> str:
        return "" if go_on.wait(60) else "never told to go on"

    monkeypatch.setattr(Handover, "hindrance", slow)
    host.add(0)
    start(grant=Grant("rw", "toy", pre_start=True), interval=60)
    until(lambda: kubelet.devices() == {"0": "Healthy"}, "the device")
    plugin = kubelet.dial(kubelet.registrations[0].endpoint)
    request = api_pb2.PreStartContainerRequest(devices_ids=["0"])
    calls = [plugin.PreStartContainer.future(request, timeout=60) for _ in range(DevicePlugin.MAX_STARTS + 2)]
    until(lambda: sum(call.done() for call in calls) == 2, "two too many are refused")
    assert {call.code() for call in calls if call.done()} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    kubelet.allocate(["0"])
    go_on.set()
    assert sum(call.exception() is None for call in calls) == DevicePlugin.MAX_STARTS
