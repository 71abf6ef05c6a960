# SPDX-License-Identifier: Apache-2.0
"""Kubelet restarts, faults, flapping, kills, counted and timed. ACCELERATOR_SOAK=1 takes the long counts."""

from __future__ import annotations

import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import RESOURCE, Host, Running
from fake_kubelet import FakeKubelet, until

from accelerator_device_plugin.health import Policy
from accelerator_device_plugin.memory import decode

Start = Callable[..., Running]
HEALTHY, UNHEALTHY = "Healthy", "Unhealthy"
PROJECT = Path(__file__).parents[1]
SOAK = bool(os.environ.get("ACCELERATOR_SOAK"))
FAULTS = 200 if SOAK else 40
KILLS = 200 if SOAK else 3


def percentile(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


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
            p50, p99 = (percentile(times, part) * 1000 for part in (0.5, 0.99))
            print(f"\n{FAULTS} times {what} at the kubelet: p50 {p50:.1f} ms, p99 {p99:.1f} ms", end="")
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


def test_killed_at_random_moments(
    host: Host, kubelet: FakeKubelet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither the state file nor the CDI spec is ever seen half-written, and each start finds what was."""
    state, cdi = tmp_path / "state.json", tmp_path / "cdi"
    cdi.mkdir()
    flags = {
        "resource": RESOURCE, "device-glob": "/dev/toy-*", "http-port": "0", "interval": "0.05",
        "plugin-dir": str(host.plugins), "root": str(host.root), "sysfs": str(host.sysfs),
        "health-file": "health", "state-file": str(state), "cdi-dir": str(cdi), "flapping": "1000000/300",
    }  # fmt: skip
    argv = [sys.executable, "-m", "accelerator_device_plugin", *(f"--{key}={flags[key]}" for key in flags)]
    environment = {"PYTHONPATH": f"{PROJECT / 'src'}:{PROJECT / 'build'}"}
    chance = random.Random(17)
    for key in range(3):
        host.add(key)
        host.say(key, "ok")
    spec = cdi / "example.com_toy.json"
    faults = 0
    for count in range(KILLS):
        registered = len(kubelet.registrations)
        process = subprocess.Popen(argv, env=environment, stderr=subprocess.PIPE, text=True)
        try:
            until(lambda: len(kubelet.registrations) > registered, f"registration {count}", seconds=60)  # noqa: B023
            host.add(3 + count % 20) if count < 20 else None
            end = time.monotonic() + chance.uniform(0, 0.5)
            while time.monotonic() < end:
                host.say(0, chance.choice(["ok", "failed"]))
                time.sleep(chance.uniform(0, 0.01))
        finally:
            process.send_signal(signal.SIGKILL)
            log = process.communicate()[1]
            kubelet.drop_streams()  # as a kubelet does, whose channels would else try this socket for ever
        assert "damaged" not in log
        if state.exists():
            known = decode(state.read_bytes(), time.monotonic(), "another boot")
            assert len(known["id:0"].faults) >= faults
            faults = len(known["id:0"].faults)
        assert {device["name"] for device in json.loads(spec.read_text())["devices"]} >= {"0", "1", "2"}
    with capsys.disabled():
        print(f"\nkilled {KILLS} times: state file and CDI spec whole each time, {faults} faults remembered")
    assert faults > 0
