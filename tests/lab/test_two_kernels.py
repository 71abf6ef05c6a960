# SPDX-License-Identifier: Apache-2.0
"""A cluster whose nodes have different kernels, as in the middle of an upgrade. In this order."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, LabCommand

OTHER_KERNEL = "linux-image-6.12-amd64"
EXAMPLE = ROOT / "playbooks" / "vars" / "ptemplate.yml"
MODULE = "ptemplate_char_dev"


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped example, kept by the playbook: driver_build, nfd and kmm are then the whole way to loaded drivers."""
    given = yaml.safe_load(EXAMPLE.read_text())
    accelerator = given["accelerator"]
    accelerator["managed_by"] = "playbook"
    for part in (accelerator["driver"], accelerator["consumer"]):
        part["source"] = str((EXAMPLE.parent / part["source"]).resolve())
    path = tmp_path_factory.mktemp("mine") / "my.yml"
    path.write_text(yaml.safe_dump(given))
    return path


@pytest.fixture(scope="module")
def kernels(second: LabCommand) -> dict[str, str]:
    """The kernel of each node."""
    second("up", "--nodes", "2")
    second("reboot", "node-2", "--kernel", OTHER_KERNEL)
    nodes = second.get("nodes")["items"]
    found = {node["metadata"]["name"]: node["status"]["nodeInfo"]["kernelVersion"] for node in nodes}
    assert len(set(found.values())) == 2, found
    return found


def test_each_node_loads_the_driver_of_its_kernel(
    second: LabCommand, kernels: dict[str, str], mine: Path, say: Callable[[str], None]
) -> None:
    play = second("play", "playbooks/site.yml", "-e", f"@{mine}", "--tags", "driver_build,nfd,kmm")
    assert "failed=0" in play
    for name, kernel in kernels.items():
        assert second("ssh", name, "uname -r").strip() == kernel
        assert MODULE in second("ssh", name, f"cat /sys/module/{MODULE}/uevent /proc/modules | grep {MODULE}")
        loaded = second.get("nodemodulesconfig", name)["status"]["modules"][0]["config"]
        assert loaded["kernelVersion"] == kernel
        assert loaded["containerImage"].endswith(re.sub(r"[^A-Za-z0-9_.-]", "_", kernel.removesuffix("+")))
    say(f"kernels: {', '.join(sorted(kernels.values()))}")


def test_a_second_build_builds_nothing(
    second: LabCommand, kernels: dict[str, str], mine: Path, say: Callable[[str], None]
) -> None:
    begin = time.monotonic()
    play = second("play", "playbooks/driver_build.yml", "-e", f"@{mine}")
    say(f"second driver_build for {len(set(kernels.values()))} kernels: {time.monotonic() - begin:.1f} s")
    assert "changed=0 " in play, play[-2000:]
