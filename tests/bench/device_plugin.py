# SPDX-License-Identifier: Apache-2.0
"""The device plugin beside a minimal one, on a fake kubelet, in one run. Prints figures and their ratios.

Usage: device_plugin.py [--calls N] [--faults N]      (as root: it makes device nodes)

For Allocate the two take turns, so that what else the machine does hits both; faults, each of another device and at
another moment, hit both at once. Only ratios mean something elsewhere. Exit status 1 when a goal is missed: Allocate's
median at most 1.2 times the minimal one's, at most 45 MiB resident, 99 of 100 faults at the kubelet within 0.2 s.
"""

from __future__ import annotations

import argparse
import os
import re
import stat
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "files/device_plugin"
sys.path[:0] = [str(PROJECT / "build"), str(PROJECT / "tests")]

from deviceplugin_v1beta1 import api_pb2  # noqa: E402
from fake_kubelet import FakeKubelet, until  # noqa: E402

MAJOR = 240  # for local use
DEVICES = 5
TURN = 50  # calls before the other's turn
SLOWER, MIB, P99 = 1.2, 45.0, 0.2  # goals
SPREAD = 20.0  # seconds over which the faults come: two periods of the minimal one
HEALTHY, UNHEALTHY = "Healthy", "Unhealthy"


class Side:
    """One plugin in a process of its own, with a kubelet and a node of its own."""

    def __init__(self, folder: Path, name: str, devices: int) -> None:
        self.name = name
        self.dev = folder / "root/dev"
        self.times: list[float] = []
        self.medians: list[float] = []  # of each turn
        self.faults: list[float] = []
        self.recoveries: list[float] = []
        plugins = folder / "plugins"
        for path in (self.dev, plugins, folder / "sys/dev/char"):
            path.mkdir(parents=True)
        for key in range(devices):
            driver = folder / f"sys/dev/char/{MAJOR}:{key}"
            driver.mkdir()
            (driver / "uevent").write_text(f"DEVNAME=toy-{key}\n")
            self.make(key)
        self.kubelet = FakeKubelet(plugins)
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{PROJECT / 'src'}:{PROJECT / 'build'}",
            "MALLOC_ARENA_MAX": "2",  # as in the image
        }
        began = time.monotonic()
        self.process = subprocess.Popen(self._argv(folder, plugins), env=environment, stderr=subprocess.DEVNULL)
        until(lambda: len(self.kubelet.devices()) == devices, f"devices of the {name} plugin", seconds=60)
        self.started = time.monotonic() - began
        self.stub = self.kubelet.dial(self.kubelet.registrations[0].endpoint)

    def _argv(self, folder: Path, plugins: Path) -> list[str]:
        if self.name == "minimal":
            script = str(Path(__file__).with_name("minimal_plugin.py"))
            return [sys.executable, script, str(plugins), "example.com/toy", str(self.dev), "toy-"]
        flags = {
            "resource": "example.com/toy", "device-glob": "/dev/toy-*", "http-port": "0",
            "plugin-dir": plugins, "root": folder / "root", "sysfs": folder / "sys",
        }  # fmt: skip
        return [sys.executable, "-m", "accelerator_device_plugin", *(f"--{key}={flags[key]}" for key in flags)]

    def make(self, key: int) -> None:
        os.mknod(self.dev / f"toy-{key}", stat.S_IFCHR | 0o600, os.makedev(MAJOR, key))

    def allocate(self) -> None:
        request = api_pb2.AllocateRequest(container_requests=[api_pb2.ContainerAllocateRequest(devices_ids=["0", "3"])])
        turn = []
        for _ in range(TURN):
            began = time.perf_counter()
            self.stub.Allocate(request, timeout=10)
            turn.append(time.perf_counter() - began)
        self.times += turn
        self.medians.append(statistics.median(turn))

    def unmake(self, key: int) -> None:
        (self.dev / f"toy-{key}").unlink()

    def resident(self) -> float:
        """MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
        assert found, status
        return int(found[1]) / 1024

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.kubelet.stop()


def spread(sides: Sequence[Side], health: str, change: Callable[[Side, int], None]) -> list[list[float]]:
    """Changes one device after the other, of all sides at once; how long each kubelet took to be told of each."""
    count = len(sides[0].kubelet.devices())
    changed: list[dict[str, float]] = [{} for _side in sides]
    told: list[dict[str, float]] = [{} for _side in sides]
    start, made = time.monotonic(), 0
    while any(len(times) < count for times in told):
        now = time.monotonic()
        assert now < start + 3 * SPREAD + 60, f"only {[len(times) for times in told]} of {count} became {health}"
        if made < count and now >= start + SPREAD * made / count:
            for side, times in zip(sides, changed, strict=True):
                change(side, made)
                times[str(made)] = time.monotonic()
            made += 1
        for side, before, times in zip(sides, changed, told, strict=True):
            seen = side.kubelet.devices()
            times |= {key: time.monotonic() - before[key] for key in before.keys() - times if seen[key] == health}
        time.sleep(0.0005)
    return [list(times.values()) for times in told]


def faults(sides: Sequence[Side]) -> None:
    for side, times in zip(sides, spread(sides, UNHEALTHY, Side.unmake), strict=True):
        side.faults = times
    for side, times in zip(sides, spread(sides, HEALTHY, Side.make), strict=True):
        side.recoveries = times


def percentile(values: list[float], part: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[part - 1]


def report(ours: Side, minimal: Side, ours_failing: Side, minimal_failing: Side) -> bool:
    both, failing = (ours, minimal), (ours_failing, minimal_failing)
    rows = {
        "start to device list, s": tuple(side.started for side in both),
        "Allocate p50, ms": tuple(percentile(side.times, 50) * 1000 for side in both),
        "Allocate p99, ms": tuple(percentile(side.times, 99) * 1000 for side in both),
        "resident memory, MiB": tuple(side.resident() for side in both),
    }
    for part in (50, 99):
        name = f"p{part} of {len(ours_failing.faults)}, ms"
        rows[f"fault to Unhealthy, {name}"] = tuple(percentile(side.faults, part) * 1000 for side in failing)
        rows[f"recovery to Healthy, {name}"] = tuple(percentile(side.recoveries, part) * 1000 for side in failing)
    print(f"{'':40}{'ours':>10}{'minimal':>10}{'ratio':>8}")
    for name, (one, other) in rows.items():
        print(f"{name:40}{one:10.2f}{other:10.2f}{one / other:8.3f}")
    # Turn by turn, since both have the same weather then.
    slower = statistics.median(one / other for one, other in zip(ours.medians, minimal.medians, strict=True))
    p99 = percentile(ours_failing.faults, 99)
    missed = [
        text
        for text, well in (
            (f"Allocate p50: expected at most {SLOWER} times the minimal one's, seen {slower:.3f}", slower <= SLOWER),
            (f"memory: expected at most {MIB:g} MiB, seen {ours.resident():.1f}", ours.resident() <= MIB),
            (f"fault to Unhealthy: expected a p99 under {P99 * 1000:g} ms, seen {p99 * 1000:.1f}", p99 < P99),
        )
        if not well
    ]
    print(f"{'Allocate p50, median of the ratios of turns':60}{slower:8.3f}")
    print("\n".join(missed or ["all goals met"]))
    return not missed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=3000, help="Allocate calls for each")
    parser.add_argument("--faults", type=int, default=200, help="faults for each, of as many devices")
    given = parser.parse_args()
    sides: list[Side] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            for name in ("ours", "minimal"):
                sides.append(Side(Path(folder) / name, name, DEVICES))
            for _ in range(0, given.calls, TURN):
                for side in sides:
                    side.allocate()
            for name in ("ours", "minimal"):
                sides.append(Side(Path(folder) / f"{name}-failing", name, given.faults))
            faults(sides[2:])
            return 0 if report(*sides) else 1
        finally:
            for side in sides:
                side.stop()


if __name__ == "__main__":
    sys.exit(main())
