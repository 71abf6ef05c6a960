# SPDX-License-Identifier: Apache-2.0
"""Kubelet restarts, faults, flapping, counted and timed. ACCELERATOR_SOAK=1 takes the long counts."""

from __future__ import annotations

import mmap
import os
import random
import statistics
import time
from collections.abc import Callable

import pytest
from conftest import Host, Running
from fake_kubelet import FakeKubelet, until

from accelerator_device_plugin.health import Policy

Start = Callable[..., Running]
HEALTHY, UNHEALTHY = "Healthy", "Unhealthy"
SOAK = bool(os.environ.get("ACCELERATOR_SOAK"))
FAULTS = 200 if SOAK else 40
# Seconds between two looks that no event asks for; 5 by default, which 200 faults would wait for.
PERIOD = 0.1


def test_twenty_kubelet_restarts(host: Host, start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    for key in range(5):
        host.add(key)
    plugin = start()
    times = []
    for _ in range(20):
        kubelet = FakeKubelet(host.plugins)
        began = time.monotonic()
        until(lambda: len(kubelet.devices()) == 5, "five devices after a restart")  # noqa: B023
        times.append(time.monotonic() - began)
        kubelet.stop()
        until(lambda: not plugin.app.kubelet.registered(), "the loss of the kubelet")
    with capsys.disabled():
        print(f"\n20 kubelet restarts: worst {max(times):.3f} s, median {statistics.median(times):.3f} s")
    assert set(kubelet.devices().values()) == {HEALTHY}


def test_latency_of_faults(
    host: Host, kubelet: FakeKubelet, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the driver's word to the kubelet's list, and back."""
    for key in range(5):
        host.add(key)
        host.say(key, "ok")
    start(health_file="health", policy=Policy(free_faults=10**6))
    until(lambda: len(kubelet.devices()) == 5, "five devices")
    down: list[float] = []
    up: list[float] = []
    for count in range(FAULTS):
        key = count % 5
        for word, health, times in (("failed", UNHEALTHY, down), ("ok", HEALTHY, up)):
            began = time.monotonic()
            host.say(key, word)
            until(lambda: kubelet.devices()[str(key)] == health, f"{word} seen", pause=0.0005)  # noqa: B023
            times.append(time.monotonic() - began)
    with capsys.disabled():
        for what, times in (("fault to Unhealthy", down), ("recovery to Healthy", up)):
            cuts = statistics.quantiles(times, n=100, method="inclusive")
            p50, p99 = (cuts[part - 1] * 1000 for part in (50, 99))
            print(f"\n{FAULTS} times {what} at the kubelet: p50 {p50:.1f} ms, p99 {p99:.1f} ms", end="")
    assert len(down) == len(up) == FAULTS


def test_latency_of_silent_faults(
    host: Host, kubelet: FakeKubelet, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    """A driver that notifies nobody: what is written through a mapping is no event for inotify either."""
    host.add(0)
    host.say(0, "ok")
    start(interval=PERIOD, health_file="health", policy=Policy(free_faults=10**6))
    until(lambda: kubelet.devices() == {"0": HEALTHY}, "the device")
    down: list[float] = []
    up: list[float] = []
    chance = random.Random(17)
    with (host.sysfs / "dev/char/10:200/health").open("r+b") as file, mmap.mmap(file.fileno(), 0) as silently:
        for _ in range(FAULTS):
            for word, health, times in ((b"failed", UNHEALTHY, down), (b"ok    ", HEALTHY, up)):
                time.sleep(chance.uniform(0, PERIOD))
                began = time.monotonic()
                silently[: len(word)] = word
                until(lambda: kubelet.devices() == {"0": health}, f"{word!r} seen", pause=0.0005)  # noqa: B023
                times.append(time.monotonic() - began)
    with capsys.disabled():
        for what, times in (("silent fault to Unhealthy", down), ("silent recovery to Healthy", up)):
            cuts = statistics.quantiles(times, n=100, method="inclusive")
            p50, p99 = (cuts[part - 1] * 1000 for part in (50, 99))
            said = f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, looking each {PERIOD * 1000:.0f} ms"
            print(f"\n{FAULTS} times {what} at the kubelet: {said}", end="")
    assert len(down) == len(up) == FAULTS


def test_flapping_reaches_the_kubelet_seldom(
    host: Host, kubelet: FakeKubelet, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    def updates(policy: Policy) -> int:
        plugin = start(health_file="health", policy=policy)
        until(lambda: plugin.app.kubelet.registered() and kubelet.devices() == {"0": HEALTHY}, "the device")
        before, looks = len(kubelet.updates), 0
        for _ in range(20):
            for word in ("failed", "ok"):
                seen = plugin.app.inventory.looks
                host.say(0, word)
                until(lambda: plugin.app.inventory.looks > seen, "the next look")  # noqa: B023
                time.sleep(0.01)
                looks += 1
        time.sleep(0.2)
        count = len(kubelet.updates) - before
        plugin.stop()
        return count

    host.add(0)
    host.say(0, "ok")
    without = updates(Policy(free_faults=10**6))
    settled = updates(
        Policy(settle=600.0, settle_most=600.0)
    )  # not offered again while the test runs, however slowly
    with capsys.disabled():
        print(f"\n20 faults of one device: {without} updates without hysteresis, {settled} with")
    assert settled <= 8 < without
