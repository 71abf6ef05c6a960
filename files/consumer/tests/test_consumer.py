# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from accelerator_consumer.__main__ import check
from accelerator_consumer.device import Device, DeviceError

SOURCE = Path(__file__).parents[1] / "src"


def consumer(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "accelerator_consumer", *arguments],
        env={"PYTHONPATH": str(SOURCE), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class Small(Device):
    """Holds four bytes, as a short buffersize does."""

    def write(self, data: bytes, offset: int | None = None) -> int:
        return super().write(data[:4], offset)


class Liar(Device):
    def read(self, count: int, offset: int = 0) -> bytes:
        return b"old"


def test_line_says_what_was_written_and_read(tmp_path: Path) -> None:
    (tmp_path / "toy-3").touch()
    assert check(Device(str(tmp_path / "toy-3")), b"hello") == (
        'toy-3: wrote 5 B, read back 5 B, verified: "hello"'
    )
    assert check(Small(str(tmp_path / "toy-3")), b"hello").startswith("toy-3: wrote 4 B, read back 4 B")


def test_wrong_content_and_full_device_are_errors(tmp_path: Path) -> None:
    (tmp_path / "toy-3").touch()
    with pytest.raises(DeviceError, match=r"toy-3 .*read back b'old', expected b'hello'"):
        check(Liar(str(tmp_path / "toy-3")), b"hello")
    with pytest.raises(DeviceError, match=r"full \(/dev/full\): wrote 0 of 5 B"):
        check(Device("/dev/full"), b"hello")


def test_no_device_ends_with_2_and_says_where_to_look() -> None:
    out, err = (process := consumer("--env-prefix", "toy")).communicate(timeout=10)
    assert (process.returncode, out) == (2, "")
    assert "expected variables toy_<id>=/dev/…" in err
    assert "resources.limits" in err


@pytest.mark.parametrize(
    "arguments", [("--interval", "-1"), ("--interval", "nan"), ("--interval", "soon"), ("--rounds", "-1")]
)
def test_wrong_use_ends_with_2(arguments: tuple[str, str]) -> None:
    out, err = (process := consumer(*arguments, toy_0="/dev/null")).communicate(timeout=10)
    assert (process.returncode, out) == (2, "")
    assert f"{arguments[0]}: expected" in err


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="needs a file below /dev as a device")
def test_rounds_until_sigterm() -> None:
    path = Path(f"/dev/shm/toy-{os.getpid()}")
    path.touch()
    process = consumer("--interval", "0.01", toy_0=str(path))
    try:
        assert process.stdout
        for number in (1, 2, 3):
            line = process.stdout.readline()
            assert re.fullmatch(
                rf'toy-\d+: wrote (\d+) B, read back \1 B, verified: "round {number}, \w+"\n', line
            )
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=5) == 0
    finally:
        process.kill()
        process.communicate()
        path.unlink()


def test_broken_device_ends_with_1() -> None:
    out, err = (process := consumer(toy_0="/dev/toy-not-there")).communicate(timeout=10)
    assert (process.returncode, out) == (1, "")
    assert err.startswith("toy-not-there (/dev/toy-not-there): No such file or directory; ")
