# SPDX-License-Identifier: Apache-2.0
"""What the site did, seen from inside the node: kernel module, parameters, device nodes, what pods may do."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import testinfra
import testinfra.host
import yaml

DEVICES = [f"/dev/ptemplate-{number}" for number in range(5)]
PARAMETERS = Path("/sys/module/ptemplate_char_dev/parameters")
SSH_CONFIG = Path(os.environ["LAB_OVERRIDES"]).parent / "ssh" / "config"


def nodes() -> list[str]:
    argv = ["kubectl", "get", "nodes", "-o", "yaml"]
    lab = Path(__file__).resolve().parents[3] / "lab" / "lab"  # molecule runs this in the scenario's folder
    found = subprocess.run([str(lab), *argv], capture_output=True, text=True, check=True).stdout
    return [item["metadata"]["name"] for item in yaml.safe_load(found)["items"]]


@pytest.fixture(params=nodes())
def node(request: pytest.FixtureRequest) -> testinfra.host.Host:
    return testinfra.get_host(f"ssh://{request.param}", ssh_config=str(SSH_CONFIG))


def test_module_is_loaded_once(node: testinfra.host.Host) -> None:
    assert node.check_output("lsmod | grep -c '^ptemplate_char_dev '") == "1"


@pytest.mark.parametrize(("name", "value"), [("max_dev", "5"), ("default_msg", "Hello from ptemplate")])
def test_parameters_are_the_definitions(node: testinfra.host.Host, name: str, value: str) -> None:
    parameter = node.file(str(PARAMETERS / name))
    assert parameter.content_string.strip() == value
    assert parameter.mode == 0o444


@pytest.mark.parametrize("path", DEVICES)
def test_device_node(node: testinfra.host.Host, path: str) -> None:
    device = node.file(path)
    assert node.run(f"test -c {path}").rc == 0
    assert (device.user, device.group, device.mode) == ("root", "root", 0o660)


def test_no_more_devices(node: testinfra.host.Host) -> None:
    assert sorted(node.check_output("ls -d /dev/ptemplate-*").split()) == DEVICES


def test_plugin_is_registered_and_confined(node: testinfra.host.Host) -> None:
    sockets = node.check_output("find /var/lib/kubelet/device-plugins -type s").split()
    assert len([path for path in sockets if not path.endswith("/kubelet.sock")]) == 1
    pid = node.check_output("pgrep -o -f [a]ccelerator_device_plugin")
    assert node.check_output(f"grep CapEff /proc/{pid}/status").split()[1] == "0" * 16


def test_consumer_sees_its_devices_only(node: testinfra.host.Host) -> None:
    pid = node.check_output("pgrep -o -f [a]ccelerator_consumer")
    seen = node.check_output(f"ls /proc/{pid}/root/dev | grep ptemplate").split()
    assert len(seen) == 2
    assert int(node.check_output(f"grep '^Uid' /proc/{pid}/status").split()[1]) > 0


def test_kernel_has_no_complaint(node: testinfra.host.Host) -> None:
    """Since the driver was loaded; before that, this node may have met one that was meant to fail."""
    since = "$(date -d @$(( $(stat -c %W /dev/ptemplate-0) - 5 )) '+%F %T')"
    log = node.check_output(f'dmesg --level=emerg,alert,crit,err --since "{since}"')
    assert [line for line in log.splitlines() if "ptemplate" in line] == []
