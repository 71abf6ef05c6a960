# SPDX-License-Identifier: Apache-2.0
"""The driver image by itself: its own command loads the module, and modprobe -r in it unloads it, without KMM."""

from __future__ import annotations

import json

import pytest
from conftest import Lab, wait_for

POD = "driver-by-hand"


def run_privileged(lab: Lab, image: str, command: list[str] | None) -> None:
    """What `podman run --rm --privileged IMAGE [COMMAND]` does on one machine, as a pod on the lab's node."""
    container = {"name": "driver", "image": image, "securityContext": {"privileged": True}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": POD, "namespace": "default"},
        "spec": {"restartPolicy": "Never", "containers": [container | ({"command": command} if command else {})]},
    }
    lab.run("lab/lab", "kubectl", "apply", "-f", "-", text=json.dumps(pod))

    def ended() -> bool:
        return lab.get("pod", POD, "-n", "default")["status"]["phase"] in {"Succeeded", "Failed"}

    try:
        wait_for("the driver image's command to end", ended, 600)
        phase = lab.get("pod", POD, "-n", "default")["status"]["phase"]
        assert phase == "Succeeded", lab.kubectl("logs", POD, "-n", "default")
    finally:
        lab.kubectl("delete", "pod", POD, "-n", "default", "--wait=true")


@pytest.fixture
def image(lab: Lab) -> str:
    if lab.allocatable("example.com/ptemplate"):
        lab.play("playbooks/teardown.yml").ok()
    lab.play("playbooks/driver_build.yml").ok()
    kernel = lab.get("nodes")["items"][0]["status"]["nodeInfo"]["kernelVersion"]
    registry = lab.overrides["images"]["registry"]
    return f"{registry}/ptemplate-driver:0.1.0-{kernel.replace('+', '_')}"


def test_driver_image_loads_and_unloads_by_itself(lab: Lab, image: str) -> None:
    node = lab.nodes[0]
    run_privileged(lab, image, None)
    assert "ptemplate_char_dev" in lab.ssh(node, "lsmod")
    run_privileged(lab, image, ["modprobe", "-r", "-d", "/opt", "ptemplate_char_dev"])
    assert "ptemplate_char_dev" not in lab.ssh(node, "lsmod")
