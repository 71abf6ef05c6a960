# SPDX-License-Identifier: Apache-2.0
"""What `lab/lab diagnose` makes of what it reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from accelerator_lab import cluster, diagnosis, processes
from accelerator_lab.errors import LabError
from accelerator_lab.instance import Instance, Node


def pod(name: str, phase: str, *containers: dict[str, Any], ready: bool = False, **meta: str) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": str(ready)}]
    status = {"phase": phase, "conditions": conditions, "containerStatuses": list(containers)}
    return {"metadata": {"name": name, "namespace": "ns", **meta}, "status": status}


PULLS = {
    "name": "one",
    "restartCount": 0,
    "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such\n tag"}},
}
CRASHES = {
    "name": "two",
    "restartCount": 3,
    "state": {"running": {}},
    "lastState": {"terminated": {"reason": "Error", "message": "No such device"}},
}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (pod("well", "Running", ready=True), []),
        (pod("done", "Succeeded"), []),
        (pod("p", "Pending", PULLS), ["ns/p: Pending: one waiting, 0 restarts: ImagePullBackOff no such tag"]),
        (pod("p", "Running", CRASHES), ["ns/p: Running: two terminated, 3 restarts: Error No such device"]),
        (pod("p", "Running", deletionTimestamp="now"), ["ns/p: Running, going: nothing said"]),
    ],
)
def test_pods_that_do_not_run_say_why(given: dict[str, Any], said: list[str]) -> None:
    assert diagnosis.pods([given]) == said


def test_a_report_is_bounded() -> None:
    assert len(diagnosis.pods([pod(str(number), "Pending") for number in range(100)])) == diagnosis.PODS
    event = {"metadata": {}, "involvedObject": {"kind": "Pod", "name": "p"}, "reason": "Failed", "message": "m"}
    events = [event | {"lastTimestamp": f"{number:03}"} for number in reversed(range(100))]
    seen = diagnosis.warnings(events)
    assert (len(seen), seen[-1]) == (diagnosis.EVENTS, "099 Pod p: Failed: m"), "the last ones"


def test_conditions_of_a_node_that_is_not_well() -> None:
    conditions = [
        {"type": "Ready", "status": "Unknown", "message": "Kubelet stopped posting node status."},
        {"type": "DiskPressure", "status": "True", "message": "kubelet has disk pressure"},
        {"type": "MemoryPressure", "status": "False"},
    ]
    taints = [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]
    node = {"metadata": {"name": "node-1"}, "spec": {"taints": taints}, "status": {"conditions": conditions}}
    assert diagnosis.conditions([node]) == [
        "node-1: Ready=Unknown: Kubelet stopped posting node status.",
        "node-1: DiskPressure=True: kubelet has disk pressure",
        "node-1: taint node.kubernetes.io/unreachable:NoExecute",
    ]


def test_a_console_without_its_dance(tmp_path: Path) -> None:
    log = processes.log_file(tmp_path, "node-1")
    log.parent.mkdir()
    dance = [
        f"M\x1b[K[ \x1b[0;31m*\x1b[0m] Job containerd.service/start running ({n}s / 2min 6s)" for n in range(40, 60)
    ]
    log.write_text("\n".join(["[    0.1] first", *dance, "[\x1b[0;32m  OK  \x1b[0m] Started kubelet.", ""]))
    said = diagnosis.tail(Instance(tmp_path), "node-1")
    assert said == [
        "[    0.1] first",
        "[ *] Job containerd.service/start running (59s / 2min 6s)",
        "[  OK  ] Started kubelet.",
    ]


def test_what_cannot_be_read_does_not_hide_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lab that was never whole: no API server, no ports, no logs."""

    def refused(*_: object) -> str:
        raise LabError("kubectl get: connection refused")

    monkeypatch.setattr(cluster, "kubectl", refused)
    monkeypatch.setattr(diagnosis.cache, "root", lambda: tmp_path)
    lab = Instance(tmp_path)
    lab.save([Node(1)])
    said = diagnosis.report(lab).splitlines()
    assert said[0] == "--- host"
    assert "GiB of disk" in said[1]
    assert said[2] == "--- lab/lab status"
    assert said[3].startswith("cannot be read: ")
    assert "cannot be read: kubectl get: connection refused" in said
    assert said[-2:] == ["--- console of node-1, last words", "(no log)"]
