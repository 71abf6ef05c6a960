# SPDX-License-Identifier: Apache-2.0
"""Faults that a driver reports, from its attribute in sysfs to the kubelet, and what is measured of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest
from conftest import Host, Running
from fake_kubelet import FakeKubelet, until

from accelerator_device_plugin.health import Policy

Start = Callable[..., Running]
HEALTHY, UNHEALTHY = "Healthy", "Unhealthy"


def test_a_reported_fault_reaches_the_kubelet_and_so_does_its_end(
    host: Host, kubelet: FakeKubelet, start: Start
) -> None:
    for key in (0, 1):
        host.add(key)
        host.say(key, "ok")
    plugin = start(health_file="health")
    until(lambda: kubelet.devices() == {"0": HEALTHY, "1": HEALTHY}, "two good devices")
    for word in ("failed", "hung"):
        host.say(1, word)
        until(lambda: kubelet.devices()["1"] == UNHEALTHY, "the fault")
        record = plugin.app.inventory.snapshot()[1]["1"].record
        assert (record.reason, record.evidence) == ("DriverReportsFault", f"health file: {word}")
        host.say(1, "ok")
        until(lambda: kubelet.devices()["1"] == HEALTHY, "its end")
    text = plugin.app.metrics.text().decode()
    line = 'transitions_total{reason="DriverReportsFault",resource="example.com/toy",state="Unhealthy"} 2.0'
    assert f"accelerator_device_plugin_{line}" in text


def test_one_fault_among_a_thousand_devices(
    host: Host, kubelet: FakeKubelet, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    for key in range(1000):
        host.add(key)
        host.say(key, "ok")
    start(health_file="health")
    until(lambda: len(kubelet.devices()) == 1000, "all devices", seconds=60)
    began = time.monotonic()
    host.say(500, "failed")
    until(lambda: kubelet.devices()["500"] == UNHEALTHY, "the fault", seconds=60)
    with capsys.disabled():
        print(
            f"\none fault among 1000 devices: Unhealthy at the kubelet after {time.monotonic() - began:.3f} s"
        )
    assert list(kubelet.devices().values()).count(HEALTHY) == 999
    assert kubelet.allocate(["501"]).container_responses


def test_a_driver_that_hangs_is_silent_and_holds_up_no_other(
    host: Host, kubelet: FakeKubelet, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A FIFO without a writer holds its reader, as a driver that hangs does."""
    monkeypatch.setattr("accelerator_device_plugin.app._LOOK", 0.1)
    for key in (0, 1):
        host.add(key)
        host.say(key, "ok")
    start(interval=0.2, health_file="health", policy=Policy(silence=0.5))
    until(lambda: kubelet.devices() == {"0": HEALTHY, "1": HEALTHY}, "two good devices")
    fifo = host.sysfs / "dev/char/10:200/health.new"
    os.mkfifo(fifo)
    fifo.replace(fifo.with_name("health"))
    until(lambda: kubelet.devices() == {"0": UNHEALTHY, "1": HEALTHY}, "the silent device")
    host.say(1, "failed")
    until(lambda: kubelet.devices()["1"] == UNHEALTHY, "the other's fault")
    fifo.with_name("health").rename(fifo)
    host.say(0, "ok")
    with fifo.open("w") as freed:
        freed.write("ok\n")
    until(lambda: kubelet.devices()["0"] == HEALTHY, "the end of silence")


def test_a_device_that_flapped_returns_when_it_has_settled(
    host: Host, kubelet: FakeKubelet, start: Start
) -> None:
    """No event and no self-check comes at that moment: the plugin knows when to look."""
    host.add(0)
    host.say(0, "ok")
    plugin = start(health_file="health", policy=Policy(free_faults=0, settle=0.5))
    until(lambda: kubelet.devices() == {"0": HEALTHY}, "the good device")
    host.say(0, "failed")
    until(lambda: kubelet.devices() == {"0": UNHEALTHY}, "the fault")
    host.say(0, "ok")
    until(lambda: plugin.app.inventory.snapshot()[1]["0"].record.reason == "Flapping", "settling")
    assert kubelet.devices() == {"0": UNHEALTHY}
    until(lambda: kubelet.devices() == {"0": HEALTHY}, "its return")


def test_a_doubt_reaches_the_kubelet_when_it_is_confirmed(
    host: Host, kubelet: FakeKubelet, start: Start
) -> None:
    """10:250 is nobody's number, so the probe cannot open it."""
    host.add(50, name="toy-0", minor=250)
    plugin = start(probe=True, policy=Policy(spacing=0.3))
    until(lambda: kubelet.devices() == {"0": UNHEALTHY}, "the confirmed fault")
    assert plugin.app.inventory.snapshot()[1]["0"].record.reason == "ProbeFailed"
    text = plugin.app.metrics.text().decode()
    (line,) = (line for line in text.splitlines() if "device_plugin_probe_seconds_count" in line)
    assert float(line.split()[-1]) >= 2
