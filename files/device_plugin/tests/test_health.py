# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Host

from accelerator_device_plugin.discovery import Device
from accelerator_device_plugin.evidence import Sources, numa_node, observe
from accelerator_device_plugin.health import Evidence, Finding, Kind, Policy, judge
from accelerator_device_plugin.inventory import Inventory

GOOD = Evidence(exists=True, character=True, name="toy-0", kernel_name="toy-0")
POLICY = Policy(good_words=("ok", "warm"))


@pytest.mark.parametrize(
    ("evidence", "kind", "reason"),
    [
        (GOOD, Kind.GOOD, "Present"),
        (Evidence(exists=False), Kind.BAD, "NodeMissing"),
        (Evidence(exists=True), Kind.BAD, "NotACharacterDevice"),
        (Evidence(exists=True, character=True, name="toy-0"), Kind.BAD, "NoDriver"),
        (Evidence(True, True, name="toy-0", kernel_name="watchdog"), Kind.BAD, "OtherDriver"),
        (replace(GOOD, word="warm"), Kind.GOOD, "Present"),
        (replace(GOOD, word="failed"), Kind.BAD, "DriverReportsFault"),
        (replace(GOOD, word="failed", probe_error="open: busy"), Kind.BAD, "DriverReportsFault"),
        (replace(GOOD, word="ok", probe_error="open: busy"), Kind.DOUBT, "ProbeFailed"),
        (replace(GOOD, word=""), Kind.SILENT, "HealthUnreadable"),
        (replace(GOOD, word_error="health: gone"), Kind.SILENT, "HealthUnreadable"),
        (None, Kind.SILENT, "NoAnswer"),
    ],
)
def test_one_look(evidence: Evidence | None, kind: Kind, reason: str) -> None:
    finding = judge(evidence, POLICY)
    assert (finding.kind, finding.reason) == (kind, reason)


def test_the_evidence_is_said() -> None:
    assert judge(replace(GOOD, word="hung"), POLICY) == Finding(
        Kind.BAD, "DriverReportsFault", "health file: hung"
    )


def test_evidence_of_real_nodes(host: Host) -> None:
    host.add(0)
    host.add(1, name="toys/1")
    host.add(2, name="watchdog", minor=202)
    (host.root / "dev/toy-2").symlink_to("watchdog")
    (host.root / "dev/toy-3").touch()

    def see(path: str) -> Evidence:
        return observe(Sources(host.root, host.sysfs), Device("x", path))

    assert see("/dev/toy-0") == GOOD
    assert see("/dev/toys/1") == Evidence(True, True, name="toys/1", kernel_name="toys/1")
    assert see("/dev/toy-2") == Evidence(True, True, name="watchdog", kernel_name="watchdog")
    assert see("/dev/toy-3") == Evidence(exists=True)
    assert see("/dev/toy-4") == Evidence(exists=False)
    (host.sysfs / "dev/char/10:200/uevent").unlink()
    assert see("/dev/toy-0") == Evidence(True, True, name="toy-0")


def test_evidence_of_the_drivers_attributes(host: Host) -> None:
    host.add(0, minor=250)  # which no driver has
    folder = host.sysfs / "dev/char/10:250"
    (folder / "health").write_text("ok\n")
    (folder / "unit").mkdir()
    (folder / "unit/serial").write_text("A-17\n")
    sources = Sources(host.root, host.sysfs, "health", "unit/serial", probe=True)

    times: list[float] = []
    seen = observe(sources, Device("0", "/dev/toy-0"), times.append)
    assert (seen.word, seen.word_error, seen.serial) == ("ok", None, "A-17")
    assert seen.probe_error is not None, "a node without driver cannot be opened"
    assert seen.probe_error.startswith("open: ")
    assert len(times) == 1
    (folder / "health").unlink()
    seen = observe(sources, Device("0", "/dev/toy-0"))
    assert (seen.word, seen.word_error) == (None, "health: No such file or directory")


def test_the_numa_node_is_the_nearest_that_is_known(tmp_path: Path) -> None:
    device = tmp_path / "devices/pci0/card/toy/toy-0"
    device.mkdir(parents=True)
    assert numa_node(tmp_path, device) is None
    (tmp_path / "devices/pci0/numa_node").write_text("1\n")
    (tmp_path / "devices/pci0/card/numa_node").write_text("-1\n")
    link = tmp_path / "link"
    link.symlink_to(device)
    assert numa_node(tmp_path, link) == 1
    (tmp_path / "devices/pci0/card/numa_node").write_text("0\n")
    assert numa_node(tmp_path, link) == 0


def test_inventory_tells_changes_and_since_when() -> None:
    now = 100.0
    inventory = Inventory(lambda: now, lambda: now, Policy())
    evidence = {"0": GOOD, "1": GOOD}
    devices = [Device(key, f"/dev/toy-{key}") for key in evidence]

    def update() -> list[tuple[str, str]]:
        changes = inventory.update(devices, lambda seen: {device: evidence[device.id] for device in seen})
        return [(change.after.device.id, change.after.record.reason) for change in changes]

    assert update() == [("0", "Present"), ("1", "Present")]
    generation, _ = inventory.snapshot()
    now = 200.0
    assert update() == []
    assert inventory.snapshot()[0] == generation, "nothing changed, so nothing may be sent"

    evidence["1"] = Evidence(exists=False)
    devices.pop()
    assert update() == [("1", "NodeMissing")], "a vanished device stays known"
    assert {key: state.since for key, state in inventory.snapshot()[1].items()} == {"0": 100.0, "1": 200.0}
