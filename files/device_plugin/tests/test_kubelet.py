# SPDX-License-Identifier: Apache-2.0
"""The whole plugin against a fake kubelet: each test changes something outside and waits until it follows."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from conftest import RESOURCE, Host, Running
from fake_kubelet import FakeKubelet, until

from accelerator_device_plugin.kubelet import socket_name

Start = Callable[..., Running]
HEALTHY, UNHEALTHY = "Healthy", "Unhealthy"


def test_registers_and_sends_the_whole_list_once(host: Host, kubelet: FakeKubelet, start: Start) -> None:
    host.add(0)
    host.add(10)
    host.add(2)
    start()
    until(lambda: bool(kubelet.updates), "the first list")
    (request,) = kubelet.registrations
    assert (request.version, request.resource_name) == ("v1beta1", RESOURCE)
    assert request.endpoint == "example.com_toy.sock"
    assert list(kubelet.devices()) == ["0", "2", "10"]
    (host.root / "dev/unrelated").touch()
    time.sleep(0.2)
    assert kubelet.updates == [{"0": HEALTHY, "2": HEALTHY, "10": HEALTHY}]


def test_streams_devices_that_come_go_and_return(host: Host, kubelet: FakeKubelet, start: Start) -> None:
    start()
    until(lambda: kubelet.updates == [{}], "the empty list of a node without devices")
    host.add(0)
    until(lambda: kubelet.devices() == {"0": HEALTHY}, "the new device")
    host.remove(0)
    until(lambda: kubelet.devices() == {"0": UNHEALTHY}, "the missing device")
    host.add(0)
    until(lambda: kubelet.devices() == {"0": HEALTHY}, "the returned device")


def test_sees_devices_in_folders_that_come_later(host: Host, kubelet: FakeKubelet, start: Start) -> None:
    start(glob="/dev/toys/*/data")
    until(lambda: kubelet.updates == [{}], "the first list")
    host.add(0, name="toys/0/data")
    until(lambda: kubelet.devices() == {"0": HEALTHY}, "the new device")


def test_self_check_finds_what_no_event_tells(host: Host, kubelet: FakeKubelet, start: Start) -> None:
    host.add(0)
    start(interval=0.1)
    until(lambda: kubelet.devices() == {"0": HEALTHY}, "the first list")
    (host.sysfs / "dev/char/10:200/uevent").unlink()
    until(lambda: kubelet.devices() == {"0": UNHEALTHY}, "the device without driver")


def test_comes_back_after_each_kubelet_restart(host: Host, start: Start) -> None:
    host.add(0)
    plugin = start()

    def come_and_go() -> None:
        kubelet = FakeKubelet(host.plugins)
        until(lambda: kubelet.devices() == {"0": HEALTHY}, "devices after a restart")
        kubelet.stop()
        until(lambda: not plugin.app.kubelet.registered(), "the loss of the kubelet")

    for _ in range(5):
        come_and_go()
    assert (
        b'accelerator_device_plugin_kubelet_restarts_total{resource="example.com/toy"} 4.0'
        in plugin.app.metrics.text()
    )


def test_kubelet_killed_so_that_its_socket_stays(host: Host, start: Start) -> None:
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(host.plugins / "kubelet.sock"))
    dead.close()
    plugin = start(interval=0.2)
    time.sleep(0.5)
    assert not plugin.app.kubelet.registered()
    kubelet = FakeKubelet(host.plugins)
    until(plugin.app.kubelet.registered, "registration with the kubelet that is back")
    kubelet.stop()


def test_serves_and_registers_again_when_its_socket_is_deleted(
    host: Host, kubelet: FakeKubelet, start: Start
) -> None:
    host.add(0)
    plugin = start()
    until(plugin.app.kubelet.registered, "the first registration")

    def lose_it(count: int) -> None:
        plugin.app.kubelet.socket.unlink()
        until(lambda: len(kubelet.registrations) >= count, "another registration")
        until(plugin.app.kubelet.registered, "the device stream")

    for count in range(2, 5):
        lose_it(count)
    assert kubelet.allocate(["0"]).container_responses


def test_registers_again_when_the_kubelet_drops_it(host: Host, kubelet: FakeKubelet, start: Start) -> None:
    plugin = start()
    until(plugin.app.kubelet.registered, "the first registration")
    kubelet.drop_streams()
    until(lambda: len(kubelet.registrations) > 1, "another registration")
    until(plugin.app.kubelet.registered, "the device stream")


def test_keeps_trying_while_refused(kubelet: FakeKubelet, start: Start) -> None:
    kubelet.refuse = "the requested resource name is invalid"
    plugin = start(interval=0.2)
    time.sleep(0.6)
    assert not plugin.app.kubelet.registered()
    kubelet.refuse = None
    until(plugin.app.kubelet.registered, "registration")
    assert b"registration_failures_total" in plugin.app.metrics.text()


def test_replaces_a_stale_socket_and_removes_its_own(host: Host, start: Start) -> None:
    path = host.plugins / "example.com_toy.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    old = path.stat().st_ino
    plugin = start()
    until(lambda: path.stat().st_ino != old, "a socket of our own")
    kubelet = FakeKubelet(host.plugins)
    until(plugin.app.kubelet.registered, "registration")
    kubelet.stop()
    assert plugin.stop() == 0
    assert list(host.plugins.iterdir()) == []


def test_a_second_plugin_waits_until_the_first_ends(
    host: Host, kubelet: FakeKubelet, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    host.add(0)
    first = start()
    until(first.app.kubelet.registered, "the first plugin")
    second = start()
    time.sleep(0.5)
    assert (first.app.kubelet.registered(), second.app.kubelet.registered()) == (True, False)
    assert len(kubelet.registrations) == 1
    assert caplog.text.count("another process listens on") == 1
    assert first.stop() == 0
    until(second.app.kubelet.registered, "the second plugin, at once")
    assert kubelet.allocate(["0"]).container_responses


def test_a_second_plugin_stops_where_the_first_goes_on(
    host: Host,
    kubelet: FakeKubelet,
    start: Start,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("accelerator_device_plugin.kubelet._HANDOVER", 0.5)
    first = start()
    until(first.app.kubelet.registered, "the first plugin")
    second = start(interval=0.2)
    second.thread.join(timeout=10)
    assert second.codes == [1]
    assert "stopping: another process listens on" in caplog.text
    assert "Traceback" not in caplog.text
    assert first.app.kubelet.registered()
    assert first.app.kubelet.socket.exists()


def test_yields_to_another_that_took_its_socket(host: Host, kubelet: FakeKubelet, start: Start) -> None:
    plugin = start(interval=0.2)
    until(plugin.app.kubelet.registered, "registration")
    path = plugin.app.kubelet.socket
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(f"{path}.other")
        other.listen(1)  # and never accepts: full after two looks
        Path(f"{path}.other").replace(path)
        theirs = path.stat().st_ino
        until(lambda: not plugin.app.kubelet.registered(), "the end of our stream")
        time.sleep(1)
        assert path.stat().st_ino == theirs
    until(plugin.app.kubelet.registered, "our return over a socket that nobody serves")


def test_allocates_nodes_permissions_and_variables(host: Host, kubelet: FakeKubelet, start: Start) -> None:
    for key in (0, 1, 2):
        host.add(key)
    start()
    until(lambda: len(kubelet.devices()) == 3, "three devices")
    one, two = kubelet.allocate(["0", "2"], ["1"]).container_responses
    assert dict(one.envs) == {"toy_0": "/dev/toy-0", "toy_2": "/dev/toy-2"}
    assert [(d.container_path, d.host_path, d.permissions) for d in one.devices] == [
        ("/dev/toy-0", "/dev/toy-0", "rw"),
        ("/dev/toy-2", "/dev/toy-2", "rw"),
    ]
    assert dict(two.envs) == {"toy_1": "/dev/toy-1"}


def test_refuses_devices_by_name(host: Host, kubelet: FakeKubelet, start: Start) -> None:
    host.add(0)
    host.add(1)
    plugin = start()
    until(lambda: len(kubelet.devices()) == 2, "two devices")
    host.remove(1)
    until(lambda: kubelet.devices()["1"] == UNHEALTHY, "the missing device")
    with pytest.raises(grpc.RpcError) as refusal:
        kubelet.allocate(["0", "1", "7"])
    text = refusal.value.details()
    assert "device '1' (/dev/toy-1) is unhealthy: NodeMissing" in text
    assert "device '7' is unknown (known: 0, 1)" in text
    assert b'allocations_total{resource="example.com/toy",result="refused"} 1.0' in plugin.app.metrics.text()


def test_many_followers_do_not_starve_allocate(host: Host, kubelet: FakeKubelet, start: Start) -> None:
    from deviceplugin_v1beta1 import api_pb2

    host.add(0)
    start()
    until(lambda: kubelet.devices() == {"0": HEALTHY}, "the first list")
    plugin = kubelet.dial(kubelet.registrations[0].endpoint)
    followers = [plugin.ListAndWatch(api_pb2.Empty()) for _ in range(3)]
    for follower in followers:
        assert next(follower).devices
    with pytest.raises(grpc.RpcError, match="4 ListAndWatch streams are open already"):
        next(plugin.ListAndWatch(api_pb2.Empty()))
    assert kubelet.allocate(["0"]).container_responses


def test_socket_names_fit_into_an_address() -> None:
    folder = Path("/var/lib/kubelet/device-plugins")
    assert socket_name(folder, "example.com/toy") == "example.com_toy.sock"
    long = socket_name(folder, "a" * 60 + ".example.com/" + "b" * 60)
    assert len(str(folder / long)) <= 103
    assert long != socket_name(folder, "a" * 60 + ".example.com/" + "c" * 60)
