# SPDX-License-Identifier: Apache-2.0
"""A node's machine: its disk after a power cut, and the wait until it can be used."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from accelerator_lab import cluster, disk, processes, vm
from accelerator_lab.errors import LabError
from accelerator_lab.instance import Instance, Node

READY = {
    "spec": {},
    "status": {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"bootID": "this boot"}},
}


class Machine:
    """What wait_ready sees, one look after the other: a Node, nothing yet, or an API server that does not answer."""

    def __init__(self, *looks: dict[str, Any] | LabError) -> None:
        self._looks: Iterator[dict[str, Any] | LabError] = iter(looks)
        self.boot = ""
        self.writes = ""  # on the console, at each look
        self.started: list[bool] = []
        self.console = Path()

    def look(self, *_: object) -> dict[str, Any]:
        with self.console.open("a") as console:
            console.write(self.writes)
        found = next(self._looks)
        if isinstance(found, LabError):
            raise found
        self.boot = "this boot" if found else self.boot
        return found

    def start(self, _lab: object, _node: object, same_disk: bool) -> None:
        self.started.append(same_disk)


def wait(
    machine: Machine,
    lab: Instance,
    monkeypatch: pytest.MonkeyPatch,
    same_disk: bool = False,
    answer: Callable[..., str] | None = None,
    silent: float = 0,
) -> None:
    machine.console = processes.log_file(lab.folder, "node-1")
    machine.console.parent.mkdir()
    clock = itertools.count()  # a second passes at each look at it
    monkeypatch.setattr(cluster.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(cluster, "SILENT_SECONDS", silent)
    monkeypatch.setattr(cluster.time, "sleep", lambda _: None)
    monkeypatch.setattr(cluster, "_look", machine.look)
    monkeypatch.setattr(cluster, "boot_id", answer or (lambda *_: machine.boot))
    monkeypatch.setattr(cluster.processes, "ended", lambda *_: False)
    monkeypatch.setattr(cluster.vm, "ensure", machine.start)
    cluster.wait_ready(lab, Node(1), same_disk)


@pytest.fixture
def lab(tmp_path: Path) -> Instance:
    return Instance(tmp_path)


@pytest.mark.parametrize("same_disk", [True, False])
def test_a_machine_that_says_nothing_is_started_anew_once(
    lab: Instance, monkeypatch: pytest.MonkeyPatch, same_disk: bool
) -> None:
    machine = Machine({}, {}, {}, {}, READY)
    wait(machine, lab, monkeypatch, same_disk)
    assert machine.started == [same_disk]


def test_a_machine_that_is_slow_is_left_alone(lab: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine({}, {}, {}, {}, READY)
    machine.writes = "[  OK  ] Started one more service.\r\n"
    wait(machine, lab, monkeypatch)
    assert machine.started == []


@pytest.mark.parametrize(
    "says",
    [
        "[   36.613629] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [kworker/0:1H:44]\r\n",
        "[   33.186978] rcu: rcu_preempt kthread starved for 5248 jiffies! g1333 f0x2 ->state=0x0 ->cpu=1\r\n",
    ],
)
def test_a_machine_that_only_says_that_it_hangs_is_started_anew(
    lab: Instance, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    machine = Machine({}, {}, {}, {}, READY)
    machine.writes = says
    wait(machine, lab, monkeypatch)
    assert machine.started == [False]


def test_half_a_line_is_no_sign_of_life(lab: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine({}, {}, {}, {}, READY)
    machine.writes = "[   36.6"
    wait(machine, lab, monkeypatch)
    assert machine.started == [False]


def test_a_machine_that_answers_is_left_alone(lab: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine({}, {}, {}, {}, READY)
    machine.boot = "this boot"
    wait(machine, lab, monkeypatch)
    assert machine.started == []


def test_a_node_that_reports_is_left_alone(lab: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it is too busy to answer ssh for a while."""
    machine = Machine(READY, READY, READY, READY)
    answers = iter(["", "", "", "this boot"])
    wait(machine, lab, monkeypatch, answer=lambda *_: next(answers), silent=1)
    assert machine.started == []


def test_ready_is_this_boot_and_without_the_taints_of_before(lab: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    tainted = READY | {"spec": {"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}]}}
    before = READY | {"status": READY["status"] | {"nodeInfo": {"bootID": "the boot before"}}}
    looks = [before, tainted, READY]
    machine = Machine(*looks, AssertionError("looked again"))  # type: ignore[arg-type]
    wait(machine, lab, monkeypatch)
    assert next(machine._looks, None) is not None, "all looks but the last were needed"


def test_an_api_server_that_misses_a_request_is_asked_again(lab: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    wait(Machine(LabError("TLS handshake timeout"), READY), lab, monkeypatch)


def test_time_that_runs_out_says_what_was_seen(lab: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "NODE_READY_SECONDS", 0)
    machine = Machine(LabError("TLS handshake timeout"))
    machine.writes = "..."
    with pytest.raises(
        LabError, match=r"not Ready after 0 s(.|\n)*\.\.\.(.|\n)*TLS handshake(.|\n)*Type: lab/lab logs"
    ):
        wait(machine, lab, monkeypatch)


def superblock(magic: int, incompatible: int) -> bytes:
    return bytes(0x38) + struct.pack("<H", magic) + bytes(0x26) + struct.pack("<I", incompatible) + bytes(0x39C)


@pytest.mark.parametrize(
    ("magic", "incompatible", "unmounted"), [(0xEF53, 0x2C2, True), (0xEF53, 0x2C6, False), (0, 0, False)]
)
def test_a_disk_says_whether_its_node_shut_down(magic: int, incompatible: int, unmounted: bool) -> None:
    """The flags of mke2fs, and the one that the kernel adds; then nothing."""
    block = superblock(magic, incompatible)
    assert len(block) == disk.SUPERBLOCK
    assert disk.was_unmounted(block) is unmounted


@pytest.mark.parametrize(
    ("unmounted", "same_disk", "kept"), [(True, False, True), (False, False, False), (False, True, True)]
)
def test_the_disk_after_a_power_cut(
    lab: Instance, monkeypatch: pytest.MonkeyPatch, unmounted: bool, same_disk: bool, kept: bool
) -> None:
    """With real disks: tests/lab/test_lifecycle.py."""
    overlay = lab.folder / "node-1" / "root.qcow2"
    overlay.parent.mkdir()
    overlay.write_text("what was written")
    monkeypatch.setattr(vm.kernel, "built", lambda _: SimpleNamespace(image=None))
    monkeypatch.setattr(vm, "accelerator", lambda _: None)
    monkeypatch.setattr(vm.node_disk, "root", Path)
    monkeypatch.setattr(vm.node_config, "write", lambda *_: None)
    monkeypatch.setattr(vm, "argv", lambda *_: ["sleep", "600"])
    monkeypatch.setattr(vm, "lay_over", lambda overlay, _base: overlay.write_text("new"))
    monkeypatch.setattr(vm.disk, "unmounted", lambda _: unmounted)
    try:
        assert vm.ensure(lab, Node(1), same_disk)
        assert overlay.read_text() == ("what was written" if kept else "new")
        assert not vm.ensure(lab, Node(1)), "it runs"
    finally:
        processes.stop(lab.folder, grace=1)
