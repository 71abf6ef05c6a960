# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from conftest import Host

from accelerator_device_plugin.discovery import Device
from accelerator_device_plugin.evidence import observe
from accelerator_device_plugin.health import HEALTHY, UNHEALTHY, Evidence, Verdict, judge
from accelerator_device_plugin.inventory import Inventory

GOOD = Evidence(exists=True, character=True, name="toy-0", kernel_name="toy-0")


@pytest.mark.parametrize(
    ("evidence", "verdict"),
    [
        (GOOD, Verdict(HEALTHY, "Present")),
        (Evidence(exists=False), Verdict(UNHEALTHY, "NodeMissing")),
        (Evidence(exists=True), Verdict(UNHEALTHY, "NotACharacterDevice")),
        (Evidence(exists=True, character=True, name="toy-0"), Verdict(UNHEALTHY, "NoDriver")),
        (Evidence(True, True, name="toy-0", kernel_name="watchdog"), Verdict(UNHEALTHY, "OtherDriver")),
    ],
)
def test_verdict(evidence: Evidence, verdict: Verdict) -> None:
    assert judge(evidence) == verdict


def test_evidence_of_real_nodes(host: Host) -> None:
    host.add(0)
    host.add(1, name="toys/1")
    host.add(2, name="watchdog", minor=202)
    (host.root / "dev/toy-2").symlink_to("watchdog")
    (host.root / "dev/toy-3").touch()

    def see(path: str) -> Evidence:
        return observe(host.root, host.sysfs, Device("x", path))

    assert see("/dev/toy-0") == GOOD
    assert see("/dev/toys/1") == Evidence(True, True, name="toys/1", kernel_name="toys/1")
    assert see("/dev/toy-2") == Evidence(True, True, name="watchdog", kernel_name="watchdog")
    assert see("/dev/toy-3") == Evidence(exists=True)
    assert see("/dev/toy-4") == Evidence(exists=False)
    (host.sysfs / "dev/char/10:200/uevent").unlink()
    assert see("/dev/toy-0") == Evidence(True, True, name="toy-0")


def test_inventory_tells_changes_and_since_when() -> None:
    now = 100.0
    inventory = Inventory(lambda: now)
    evidence = {"0": GOOD, "1": GOOD}
    devices = [Device(key, f"/dev/toy-{key}") for key in evidence]

    def update() -> list[tuple[str, str]]:
        changed = inventory.update(devices, lambda device: evidence[device.id])
        return [(state.device.id, state.verdict.reason) for state in changed]

    assert update() == [("0", "Present"), ("1", "Present")]
    generation, _ = inventory.snapshot()
    now = 200.0
    assert update() == []
    assert inventory.snapshot()[0] == generation, "nothing changed, so nothing may be sent"

    evidence["1"] = Evidence(exists=False)
    devices.pop()
    assert update() == [("1", "NodeMissing")], "a vanished device stays known"
    assert {key: state.since for key, state in inventory.snapshot()[1].items()} == {"0": 100.0, "1": 200.0}
