# SPDX-License-Identifier: Apache-2.0
"""The drill's pod: its shell program, run by a real shell, ends the fault however it ends; and what it may do."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._drill import pod
from definitions import example

PLUGIN = {
    "spec": {"containers": [{"image": "registry.example/plugin:1"}], "serviceAccountName": "ptemplate-device-plugin"}
}
SHELLS = ["sh", "bash"]


@pytest.fixture
def device(tmp_path: Path) -> Path:
    return tmp_path / "fault"


def start(shell: str, device: Path, inject: str = "echo error > {0}", **env: str) -> subprocess.Popen[str]:
    """As the container runtime starts it."""
    words = {"INJECT": inject.format(device), "CLEAR": f"echo none > {device}", "HOLD": "30", "READY": "0", **env}
    argv = [shell, "-c", pod.SCRIPT]
    return subprocess.Popen(
        argv, env={**os.environ, **words}, stdout=subprocess.PIPE, text=True, start_new_session=True
    )


def told(process: subprocess.Popen[str]) -> list[str]:
    out, _nothing = process.communicate(timeout=30)
    return [found.word for line in out.splitlines() if (found := pod.word(line, 0.0))]


def until(path: Path, text: str) -> None:
    end = time.monotonic() + 20
    while not (path.exists() and path.read_text().strip() == text):
        assert time.monotonic() < end, f"{path} never held {text}"
        time.sleep(0.01)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_fault_ends_when_the_pod_is_told_to(shell: str, number: signal.Signals, device: Path) -> None:
    process = start(shell, device)
    until(device, "error")
    process.send_signal(number)
    words = told(process)
    assert device.read_text() == "none\n"
    assert (process.returncode, words[-1]) == (0, "cleared")


@pytest.mark.parametrize("shell", SHELLS)
def test_the_fault_ends_by_itself_when_nobody_comes(shell: str, device: Path) -> None:
    process = start(shell, device, HOLD="1")
    until(device, "error")
    words = told(process)
    assert device.read_text() == "none\n"
    assert (process.returncode, words) == (0, ["injected", "tick", "cleared"])


def test_a_fault_whose_making_hangs_is_ended_too(device: Path) -> None:
    process = start("sh", device, "echo error > {0}; sleep 60")
    until(device, "error")
    process.terminate()
    assert process.wait(20) == 0
    os.killpg(process.pid, signal.SIGKILL)  # the sleep, which in a container ends with it
    assert (device.read_text(), told(process)) == ("none\n", ["cleared"])


def test_a_fault_that_cannot_be_made_is_told_and_cleared(device: Path) -> None:
    process = start("sh", device, "exit 3")
    words = told(process)
    assert (process.returncode, words) == (1, ["failed", "cleared"])
    assert device.read_text() == "none\n"


def test_a_fault_that_cannot_be_ended_is_told(device: Path) -> None:
    process = start("sh", device, HOLD="0", CLEAR="exit 1")
    words = told(process)
    assert (process.returncode, words[-1]) == (1, "stuck")


def test_a_pod_that_only_clears(device: Path) -> None:
    made: Any = pod.pod(example(), PLUGIN, "worker-1", "true", 0)
    env = {one["name"]: one["value"] for one in made["spec"]["containers"][0]["env"]}
    assert (env["HOLD"], env["READY"]) == ("0", "0")
    process = start("sh", device, "true", HOLD="0")
    assert told(process) == ["injected", "cleared"]
    assert process.returncode == 0


def test_the_pod_has_the_folder_that_it_needs_and_no_more() -> None:
    made: Any = pod.pod(example(), PLUGIN, "worker-1", "true", 40)
    spec, container = made["spec"], made["spec"]["containers"][0]
    assert spec["nodeName"] == "worker-1"
    assert spec["activeDeadlineSeconds"] == 40 + pod.SLACK
    assert [one["hostPath"]["path"] for one in spec["volumes"]] == ["/sys/kernel/debug/ptemplate"]
    assert [one["mountPath"] for one in container["volumeMounts"]] == ["/host/sys/kernel/debug/ptemplate"]
    assert container["securityContext"]["privileged"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert spec["automountServiceAccountToken"] is False
    assert (container["image"], spec["serviceAccountName"]) == ("registry.example/plugin:1", "ptemplate-device-plugin")
    assert "hostPID" not in spec
    assert "seLinuxOptions" not in spec["securityContext"]


def test_privileged_only_where_the_definition_says_so() -> None:
    made: Any = pod.pod(example(health={"drill": {"privileged": True}}), PLUGIN, "worker-1", "true", 40)
    assert made["spec"]["containers"][0]["securityContext"] == {"privileged": True}


def test_where_selinux_is_the_pod_may_write_to_the_kernels_files() -> None:
    context = {"seLinuxOptions": {"type": "container_device_plugin_t"}}
    made: Any = pod.pod(example(), {"spec": {**PLUGIN["spec"], "securityContext": context}}, "worker-1", "true", 40)
    assert made["spec"]["securityContext"]["seLinuxOptions"] == {"type": "spc_t"}


def test_one_pod_a_node_that_no_workload_of_ours_selects() -> None:
    definition = example()
    assert pod.name(definition, "a") != pod.name(definition, "b")
    labels = pod.labels(definition)
    assert labels["app.kubernetes.io/name"] == "ptemplate-drill"
    assert "app.kubernetes.io/managed-by" not in labels
    assert pod.selector(definition) == "app.kubernetes.io/instance=ptemplate,app.kubernetes.io/component=drill"


def test_clocks_that_disagree() -> None:
    """The line that came fastest is nearest to the truth."""
    words = [pod.word("drill tick 100.0 ", 1102.0), pod.word("drill injected 103.5", 1103.6), pod.word("no word", 0.0)]
    found = [one for one in words if one]
    assert pod.offset(found) == pytest.approx(1000.1)
    assert pod.said(found, "injected") == 103.5
    assert pod.said(found, "cleared") is None
    assert pod.offset([]) == 0.0
