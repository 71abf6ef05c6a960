# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Host
from fake_kubelet import FakeKubelet, until

from accelerator_device_plugin.__main__ import parse
from accelerator_device_plugin.service import Grant

PROJECT = Path(__file__).parents[1]


def test_flags_beat_environment_and_defaults(tmp_path: Path) -> None:
    environment = {
        "DEVICE_PLUGIN_RESOURCE": "example.com/my-toy",
        "DEVICE_PLUGIN_DEVICE_GLOB": "/dev/toy-*",
        "DEVICE_PLUGIN_INTERVAL": "7",
        "NODE_NAME": "worker-1",
    }
    settings = parse(["--plugin-dir", str(tmp_path), "--interval", "0.5"], environment)
    assert (settings.resource, settings.interval, settings.http_port) == ("example.com/my-toy", 0.5, 9400)
    assert settings.grant == Grant("rw", "my_toy")
    assert settings.node == "worker-1"


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("--resource", "toy", "expected domain/name, got 'toy'"),
        ("--device-glob", "dev/toy", "expected an absolute path"),
        ("--permissions", "rx", "expected a subset of rwm, got 'rx'"),
        ("--interval", "0", "expected seconds, got '0'"),
        ("--http-port", "70000", "expected a port number, got '70000'"),
        ("--plugin-dir", "/nowhere", "expected an existing folder (mounted from the node, writable)"),
    ],
)
def test_wrong_flags_are_named(
    flag: str, value: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = ["--resource", "example.com/toy", "--device-glob", "/dev/toy-*", "--plugin-dir", str(tmp_path)]
    with pytest.raises(SystemExit) as exit:
        parse([*good, flag, value], {})
    assert exit.value.code == 2
    assert f"{flag}: {expected}" in capsys.readouterr().err


def test_sigterm_ends_the_process_and_removes_its_socket(host: Host, kubelet: FakeKubelet) -> None:
    flags = {
        "resource": "example.com/toy", "device-glob": "/dev/toy-*", "http-port": "0",
        "plugin-dir": str(host.plugins), "root": str(host.root), "sysfs": str(host.sysfs),
    }  # fmt: skip
    host.add(0)
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "accelerator_device_plugin",
            *(f"--{flag}={value}" for flag, value in flags.items()),
        ],
        env={"PYTHONPATH": f"{PROJECT / 'src'}:{PROJECT / 'build'}"},
    )
    try:
        until(lambda: kubelet.devices() == {"0": "Healthy"}, "the device list")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=5) == 0
    finally:
        process.kill()
    assert [path.name for path in host.plugins.iterdir()] == ["kubelet.sock"]
