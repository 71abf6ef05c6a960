# SPDX-License-Identifier: Apache-2.0
"""Restart of the kubelet, loss of the plugin's pod, reboot: devices are back without the playbook."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Lab, wait_for

ROOT = Path(__file__).resolve().parents[3]
RESOURCE = "example.com/ptemplate"
PLUGIN = ("-n", "ptemplate", "-l", "app.kubernetes.io/name=ptemplate-device-plugin")
BOUND = 900  # seconds, for what is told by its measured time; an emulated node boots in about 60


def plugin_ready(lab: Lab) -> bool:
    pods = lab.get("pods", *PLUGIN)["items"]
    return bool(pods) and all(
        any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
        and "deletionTimestamp" not in pod["metadata"]
        for pod in pods
    )


def consumer_ready(lab: Lab) -> bool:
    status = lab.get("deployment", "ptemplate-consumer", "-n", "ptemplate")["status"]
    return status.get("availableReplicas", 0) >= 1


def healthy(lab: Lab) -> bool:
    return lab.allocatable(RESOURCE) == 5 * len(lab.nodes) and plugin_ready(lab) and consumer_ready(lab)


@pytest.fixture(autouse=True)
def _starts_healthy(lab: Lab) -> None:
    wait_for("healthy before the test", lambda: healthy(lab), BOUND)


def heartbeat(lab: Lab, node: str) -> str:
    conditions = lab.get("node", node)["status"]["conditions"]
    return next(c["lastHeartbeatTime"] for c in conditions if c["type"] == "Ready")


def test_kubelet_restart(lab: Lab, say: Callable[[str], None]) -> None:
    node = lab.nodes[0]
    before, start = heartbeat(lab, node), time.monotonic()
    subprocess.run(["lab/lab", "restart-kubelet", node], cwd=ROOT, check=True, timeout=300)
    wait_for(
        "the new kubelet's first report", lambda: heartbeat(lab, node) != before, BOUND
    )  # all else is the old one's
    wait_for("devices back after a kubelet restart", lambda: healthy(lab), BOUND)
    say(f"kubelet restart: devices back and healthy after {time.monotonic() - start:.0f} s")


def test_plugin_pod_deleted(lab: Lab, say: Callable[[str], None]) -> None:
    lab.kubectl("delete", "pod", *PLUGIN, "--wait=true")
    seconds = wait_for("devices back after the plugin's pod was deleted", lambda: healthy(lab), BOUND)
    say(f"plugin pod deleted: devices back and healthy after {seconds:.0f} s")


def test_reboot(lab: Lab, say: Callable[[str], None]) -> None:
    node = lab.nodes[0]
    boot = lab.get("node", node)["status"]["nodeInfo"]["bootID"]
    start = time.monotonic()
    subprocess.run(["lab/lab", "reboot", node], cwd=ROOT, check=True, timeout=1800)
    wait_for("another boot id", lambda: lab.get("node", node)["status"]["nodeInfo"]["bootID"] != boot, BOUND)
    wait_for("devices back after a reboot", lambda: healthy(lab), BOUND)
    say(f"reboot: devices back and healthy after {time.monotonic() - start:.0f} s, the boot included")
    assert "ptemplate_char_dev" in lab.ssh(node, "lsmod")
