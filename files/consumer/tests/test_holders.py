# SPDX-License-Identifier: Apache-2.0
"""Who holds a device, from a node's file system laid out in a folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from accelerator_consumer import holders
from accelerator_consumer.device import DeviceError
from accelerator_consumer.ptemplatectl import main

UID = "0a1b2c3d-1111-2222-3333-0123456789ab"
SLICE = f"kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID.replace('-', '_')}.slice"
SCOPE = f"{SLICE}/cri-containerd-77.scope"
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A node with a pod's cgroup and log folder, and a process of the pod that has the device open."""
    for folder in (
        f"sys/fs/cgroup/{SCOPE}",
        f"var/log/pods/team_greedy-7f_{UID}",
        "proc/1/fd",
        "proc/4711/fd",
        "dev",
    ):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "dev/ptemplate-3").write_text("x")
    os.symlink(tmp_path / "dev/ptemplate-3", tmp_path / "proc/4711/fd/5")
    os.symlink("/nowhere", tmp_path / "proc/4711/fd/6")
    (tmp_path / "proc/4711/comm").write_text("python3\n")
    (tmp_path / "proc/4711/cgroup").write_text(f"0::/{SCOPE}\n")
    return tmp_path


def listing(node: Path, *lines: str) -> None:
    (node / holders.LIST).parent.mkdir(parents=True, exist_ok=True)
    (node / holders.LIST).write_text("".join(f"{line}\n" for line in lines))


def line(cgroup: int, comm: str = "python3") -> str:
    return f"device=ptemplate-3 tgid=4711 cgroup={cgroup} since=1767225600 comm={comm}"


def test_the_drivers_list_leads_to_the_pod(node: Path) -> None:
    listing(node, line(os.stat(node / f"sys/fs/cgroup/{SCOPE}").st_ino, "a\\040b"), line(1))
    first, second = holders.find(node, "dev/ptemplate-*")
    assert (first.pod, first.uid, first.since) == ("team/greedy-7f", UID, 1767225600)
    assert (first.device, first.process, first.command) == ("ptemplate-3", 4711, "a\\040b")
    assert (second.pod, second.who) == (None, "no cgroup that is there")


def test_without_a_list_the_processes_are_looked_through(node: Path) -> None:
    [found] = holders.find(node, "dev/ptemplate-*")
    assert (found.device, found.process, found.command) == ("ptemplate-3", 4711, "python3")
    assert (found.pod, found.since) == ("team/greedy-7f", None)
    assert holders.find(node, "dev/other-*") == []
    listing(node)
    assert holders.find(node, "dev/ptemplate-*") == [], "the driver knows better"
    assert len(holders.find(node, "dev/ptemplate-*", driver_list=False)) == 1


def test_a_pod_that_has_gone_and_a_process_of_the_node(node: Path) -> None:
    (node / f"var/log/pods/team_greedy-7f_{UID}").rmdir()
    assert (
        holders.find(node, "dev/ptemplate-*")[0].who
        == f"pod with UID {UID}, which the kubelet no longer knows"
    )
    (node / "proc/4711/cgroup").write_text("0::/system.slice/ssh.service\n")
    assert holders.find(node, "dev/ptemplate-*")[0].who == "/system.slice/ssh.service"


@pytest.mark.parametrize(
    ("cgroup", "uid"),
    [
        (f"/{SCOPE}", UID),
        (f"/kubepods/besteffort/pod{UID}/77", UID),
        (f"/kubepods/pod{UID}", UID),
        (
            "/kubepods.slice/kubepods-pod0123456789abcdef0123456789abcdef.slice/x",
            "0123456789abcdef0123456789abcdef",
        ),
        ("/system.slice/podman.service", None),
        ("/", None),
    ],
)
def test_the_uid_in_a_cgroups_path(cgroup: str, uid: str | None) -> None:
    assert holders.pod_uid(cgroup) == uid


def test_a_line_that_is_none_is_told(node: Path) -> None:
    listing(node, line(1), "device=ptemplate-3 tgid=many")
    with pytest.raises(DeviceError, match="seen line 2: 'device=ptemplate-3 tgid=many'"):
        holders.find(node, "dev/ptemplate-*")


def test_a_place_that_does_not_see_the_node_is_told(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="next: run it as root on the node, or by kubectl debug"):
        holders.find(tmp_path, "dev/ptemplate-*")


def test_the_command(node: Path, capsys: Capture) -> None:
    assert main(["holders", "--root", str(node)]) == 0
    assert capsys.readouterr().out == "ptemplate-3: pod team/greedy-7f, process 4711 (python3)\n"
    assert main(["--json", "holders", "--root", str(node)]) == 0
    [row] = json.loads(capsys.readouterr().out)
    assert (row["pod"], row["process"]) == ("team/greedy-7f", 4711)
    listing(node)
    assert main(["holders", "--root", str(node)]) == 0
    assert capsys.readouterr().out == "nobody holds a device\n"
