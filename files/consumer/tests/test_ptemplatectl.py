# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest

from accelerator_consumer.device import Device
from accelerator_consumer.ptemplatectl import Host, main

Capture = pytest.CaptureFixture[str]
BINARY = b"\x00\xff\r\n\xe4"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    (tmp_path / "buffersize").write_text("100\n")
    for number in (0, 1):
        (tmp_path / f"ptemplate-{number}").write_text("hello")
    return Host([Device(str(tmp_path / f"ptemplate-{number}")) for number in (0, 1)], parameters=tmp_path)


def test_list(host: Host, capsys: Capture) -> None:
    assert main(["list"], host) == 0
    assert capsys.readouterr().out.splitlines() == [f"{d.name:<16} {d.path}" for d in host.devices]
    assert main(["--json", "list"], host) == 0
    assert json.loads(capsys.readouterr().out)[1]["device"] == "ptemplate-1"
    assert main(["list"], Host([])) == 0
    assert capsys.readouterr().out == "no devices\n"


def test_stats(host: Host, capsys: Capture) -> None:
    assert main(["--json", "stats", "1"], host) == 0
    assert json.loads(capsys.readouterr().out) == [{"device": "ptemplate-1", "bytes": 5, "capacity": 100}]
    assert main(["stats"], Host(host.devices, parameters=Path("/nowhere"))) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["ptemplate-0", "5", "?"]


@pytest.mark.parametrize("name", ["1", "ptemplate-1", "PATH"])
def test_write_then_read_by_any_name(name: str, host: Host, capsys: Capture) -> None:
    name = host.devices[1].path if name == "PATH" else name
    assert main(["write", name, "good day"], host) == 0
    assert main(["write", name, "--offset", "5", "luck"], host) == 0
    assert main(["read", name], host) == 0
    assert capsys.readouterr().out == "ptemplate-1: wrote 8 B\nptemplate-1: wrote 4 B\ngood luck"
    assert main(["--json", "read", name, "--offset", "5", "--count", "2"], host) == 0
    expected = {"device": "ptemplate-1", "offset": 5, "bytes": 2, "text": "lu"}
    assert json.loads(capsys.readouterr().out) == expected


def test_write_from_standard_input(host: Host, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"from a pipe")))
    assert main(["write", "0", "-"], host) == 0
    assert host.devices[0].read(100) == b"from a pipe"


def test_what_is_read_is_what_is_there_byte_by_byte(
    host: Host, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    host.devices[0].write(BINARY)
    assert main(["read", "0"], host) == 0
    assert capfdbinary.readouterr().out == BINARY
    assert main(["write", "1", os.fsdecode(BINARY[1:])], host) == 0
    assert host.devices[1].read(100) == BINARY[1:]


def test_errors_name_the_device_and_the_next_step(host: Host, capsys: Capture) -> None:
    assert main(["read", "7"], host) == 1
    error = capsys.readouterr().err
    assert error.startswith("ptemplatectl: 7: no such device (there are: ptemplate-0, ptemplate-1); ")
    assert "lsmod" in error
    assert main(["write", "full", "hello"], Host([Device("/dev/full")], host.parameters)) == 1
    error = capsys.readouterr().err
    assert "full (/dev/full): wrote 0 of 5 B at offset 0, then it was full (capacity: 100 B)" in error
    with pytest.raises(SystemExit) as exit:
        main(["read", "0", "--offset", "-1"], host)
    assert exit.value.code == 2
