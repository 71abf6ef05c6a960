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
from accelerator_device_plugin.health import Policy
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
    assert settings.policy == Policy(silence=1.5)
    assert (settings.health_file, settings.probe, settings.state_file) == ("", False, None)


def test_health_settings_become_a_policy(tmp_path: Path) -> None:
    flags = {
        "resource": "example.com/toy", "device-glob": "/dev/toy-*", "plugin-dir": str(tmp_path),
        "health-file": "device/health", "health-words": "ok,degraded", "probe": "open", "doubts": "3/5",
        "silence": "20", "silence-policy": "suspect", "flapping": "0/60", "settle": "1/8.5",
    }  # fmt: skip
    settings = parse([f"--{flag}={value}" for flag, value in flags.items()], {})
    assert settings.policy == Policy(
        ("ok", "degraded"), doubts=3, looks=5, silence=20, silence_is_fault=False,
        free_faults=0, window=60, settle=1, settle_most=8.5,
    )  # fmt: skip
    assert (settings.health_file, settings.probe) == ("device/health", True)


def test_a_reset_is_for_devices_that_are_one_pod_s(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--resource=a.b/c", "--device-glob=/dev/c-*", f"--plugin-dir={tmp_path}", "--pre-start=reset"]
    settings = parse(flags, {})
    assert (settings.grant.pre_start, settings.reset_file) == (True, "reset")
    assert parse([*flags, "--pre-start=look"], {}).reset_file == ""
    with pytest.raises(SystemExit):
        parse([*flags, "--replicas=2"], {})
    assert "expected none or look where pods share a device" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("--resource", "toy", "expected domain/name, got 'toy'"),
        ("--device-glob", "dev/toy", "expected an absolute path"),
        ("--permissions", "rx", "expected a subset of rwm, got 'rx'"),
        ("--interval", "0", "expected seconds, got '0'"),
        ("--http-port", "70000", "expected a port number, got '70000'"),
        ("--health-file", "../health", "expected a path below the device's sysfs folder, got '../health'"),
        ("--health-file", "/sys/health", "expected a path below the device's sysfs folder"),
        ("--reset-file", "../reset", "expected a path below the device's sysfs folder"),
        ("--pre-start", "wipe", "expected none, look or reset, got 'wipe'"),
        ("--serial-file", "a//b", "expected a path below the device's sysfs folder"),
        ("--health-words", ",", "expected at least one word"),
        ("--probe", "yes", "expected none or open, got 'yes'"),
        ("--doubts", "3/2", "expected N/M with N from 1 to M, got '3/2'"),
        ("--silence", "-1", "expected seconds, got '-1'"),
        ("--silence-policy", "healthy", "expected unhealthy or suspect"),
        ("--flapping", "3", "expected N/SECONDS, got '3'"),
        ("--settle", "20/10", "expected SECONDS/MOST, MOST not below SECONDS"),
        ("--replicas", "0", "expected a number from 1 to 1000"),
        ("--prefer", "best", "expected packed or spread"),
        ("--cdi-dir", "/nowhere", "expected an existing folder"),
        ("--state-file", "/nowhere/state", "expected a file in an existing folder"),
        ("--plugin-dir", "/nowhere", "expected an existing folder (mounted from the node, writable)"),
    ],
)
def test_wrong_flags_are_named(
    flag: str, value: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = ["--resource", "example.com/toy", "--device-glob", "/dev/toy-*", "--plugin-dir", str(tmp_path)]
    with pytest.raises(SystemExit) as exit:
        parse([*good, f"{flag}={value}"], {})
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
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
    assert [path.name for path in host.plugins.iterdir()] == ["kubelet.sock"]
