# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from pathlib import Path

import pytest

from accelerator_consumer.device import Device, DeviceError, allocated

ENVIRONMENT = {
    "toy_10": "/dev/toy-10",
    "toy_2": "/dev/toy-2",
    "other_0": "/dev/other0",
    "HOME": "/dev/shm",
    "toy_home": "/root",
    "PATH": "/bin",
}


def test_allocated_devices_come_from_variables_with_the_prefix() -> None:
    assert [device.name for device in allocated(ENVIRONMENT, "toy")] == ["toy-2", "toy-10"]
    assert [device.name for device in allocated(ENVIRONMENT, None)] == ["toy-2", "other0", "toy-10"]
    assert allocated(ENVIRONMENT, "to") == []


def test_content_is_replaced_or_patched_and_read_back(tmp_path: Path) -> None:
    (tmp_path / "toy-0").write_text("a long old content")
    device = Device(str(tmp_path / "toy-0"))
    assert device.write(b"hello") == 5
    assert device.write(b"p!", offset=3) == 2
    assert (device.size(), device.read(100), device.read(2, offset=1)) == (5, b"help!", b"el")


def test_write_to_a_full_device_tells_how_much_fitted() -> None:
    assert Device("/dev/full").write(b"hello") == 0


def test_a_device_that_takes_nothing_ends_the_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy-0").touch()
    monkeypatch.setattr(os, "pwrite", lambda *_: 0)
    assert Device(str(tmp_path / "toy-0")).write(b"hello") == 0


def test_error_names_device_reason_and_next_step(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"toy-9 \(.*/toy-9\): No such file or directory; .*driver"):
        Device(str(tmp_path / "toy-9")).read(1)
