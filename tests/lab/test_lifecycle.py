# SPDX-License-Identifier: Apache-2.0
"""A lab of the tests' own: killed while it comes up, rebooted, with another kernel, and gone. In this order."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from conftest import LabCommand

# Seconds into `up`: before anything runs, while the control plane starts, while the node boots.
KILLED_AFTER = (0.5, 2.0, 4.0, 9.0)
OTHER_KERNEL = "linux-image-6.12-amd64"


def marked() -> list[str]:
    """Every process of the second lab, by whatever name it has."""
    found = []
    for proc in Path("/proc").iterdir():
        try:
            environment = (proc / "environ").read_bytes()
            if proc.name.isdigit() and b"/instances/test-second#" in environment:
                found.append((proc / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue  # ended meanwhile, or not ours to read
    return found


def test_a_killed_up_recovers(second: LabCommand) -> None:
    for seconds in KILLED_AFTER:
        process = second.start("up")
        time.sleep(seconds)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    second("up")
    second("status")


def test_two_labs_share_nothing(lab: LabCommand, second: LabCommand) -> None:
    one, two = (
        dict(line.split(maxsplit=1) for line in each("status").splitlines() if "=" not in line)
        for each in (lab, second)
    )
    assert one["registry"] != two["registry"]
    assert lab("kubeconfig") != second("kubeconfig")
    assert (
        lab.get("namespace", "kube-system")["metadata"]["uid"]
        != second.get("namespace", "kube-system")["metadata"]["uid"]
    )


def test_up_again_changes_nothing(second: LabCommand) -> None:
    before = second("status")
    begin = time.monotonic()
    assert second("up") == before, "the same processes in the same places"
    assert time.monotonic() - begin < 60, "nothing is built, started or waited for"


def test_a_process_that_died_is_started_again(second: LabCommand) -> None:
    os.kill(pid(second, "kube-scheduler"), signal.SIGKILL)
    assert "kube-scheduler           NOT RUNNING" in second("status", code=1)
    second("up")


def test_reboot_into_another_kernel_keeps_the_disk(second: LabCommand) -> None:
    second("ssh", "node-1", "touch /var/kept")
    before = second.get("node", "node-1")["status"]["nodeInfo"]
    second("reboot", "node-1", "--kernel", OTHER_KERNEL)
    after = second.get("node", "node-1")["status"]["nodeInfo"]
    assert after["bootID"] != before["bootID"]
    assert after["kernelVersion"].startswith("6.12.")
    second("ssh", "node-1", "test -e /var/kept && modprobe --dry-run virtio_net")
    uri = f"docker://{registry(second)}/lab/driver-toolkit:{after['kernelVersion'].replace('+', '_')}"
    assert os.system(f"skopeo inspect --tls-verify=false {uri} > /dev/null") == 0


def test_a_node_that_shut_down_keeps_its_disk(second: LabCommand) -> None:
    second.start("ssh", "node-1", "systemctl poweroff --no-block").communicate()  # it may not live to say how it went
    end = time.monotonic() + 300
    while "node-1                   NOT RUNNING" not in second.start("status").communicate()[0]:
        assert time.monotonic() < end, "it does not shut down"
        time.sleep(1)
    second("up")
    second("ssh", "node-1", "test -e /var/kept")


def test_a_node_whose_plug_was_pulled_gets_a_new_disk(second: LabCommand) -> None:
    """What its page cache held is lost, and containerd does not notice that files of an image are cut off."""
    os.kill(pid(second, "node-1"), signal.SIGKILL)
    second("up")
    second("ssh", "node-1", "test ! -e /var/kept")


def pid(lab: LabCommand, name: str) -> int:
    return int(next(line.split()[-1] for line in lab("status").splitlines() if line.split()[:2] == [name, "pid"]))


def registry(lab: LabCommand) -> str:
    return next(line.split()[1] for line in lab("status").splitlines() if line.startswith("registry") and ":" in line)


def test_down_leaves_nothing(second: LabCommand) -> None:
    folder = Path(second("kubeconfig").strip()).parents[1]
    assert marked()
    second("down")
    assert marked() == []
    assert not folder.exists()
    assert "Type: lab/lab up" in second("status", code=1)


@pytest.mark.parametrize("arguments", [("ssh", "node-9", "true"), ("logs", "nothing"), ("reboot", "node-9")])
def test_wrong_names_are_answered_with_the_right_ones(lab: LabCommand, arguments: tuple[str, ...]) -> None:
    said = lab(*arguments, code=1)
    assert "there are:" in said
    assert "Traceback" not in said
