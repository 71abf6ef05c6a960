# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from accelerator_device_plugin.discovery import Device, device_id, discover, folders


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("/dev/toy-*", "/dev/toy-3", "3"),
        ("/dev/toy[0-9]", "/dev/toy7", "7"),
        ("/dev/toy?_ctl", "/dev/toya_ctl", "a"),
        ("/dev/toy/*/data", "/dev/toy/0/data", "0"),
        ("/dev/toy/card*/ctl*", "/dev/toy/card1/ctl2", "1_ctl2"),
        ("/dev/toy*", "/dev/toy", "toy"),  # the variable part is empty
        ("/dev/toy0", "/dev/toy0", "toy0"),
    ],
)
def test_id_is_what_the_glob_leaves_open(pattern: str, path: str, expected: str) -> None:
    assert device_id(pattern, path) == expected


def test_finds_devices_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    for name in ("toy-10", "toy-2", "toy-b", "other-1"):
        (tmp_path / "dev" / name).touch()
    assert discover(tmp_path, "/dev/toy-*") == [
        Device("2", "/dev/toy-2"),
        Device("10", "/dev/toy-10"),
        Device("b", "/dev/toy-b"),
    ]


def test_folders_are_those_that_exist_on_the_way(tmp_path: Path) -> None:
    assert folders(tmp_path, "/dev/toy/*/data*") == [tmp_path]
    (tmp_path / "dev/toy/0").mkdir(parents=True)
    assert folders(tmp_path, "/dev/toy/*/data*") == [
        tmp_path / "dev",
        tmp_path / "dev/toy",
        tmp_path / "dev/toy/0",
    ]
