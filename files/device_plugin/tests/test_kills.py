# SPDX-License-Identifier: Apache-2.0
"""Killed at random moments, some of them while it writes. ACCELERATOR_SOAK=1 takes the long count."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pytest
from conftest import RESOURCE, Host
from fake_kubelet import PATIENCE, FakeKubelet, until

from accelerator_device_plugin.health import HEALTHY, Record
from accelerator_device_plugin.memory import decode, encode, this_boot

PROJECT = Path(__file__).parents[1]
KILLS = 200 if os.environ.get("ACCELERATOR_SOAK") else 40
LIFE = 0.15  # seconds at most, from the registration on
ABSENT = 2000  # devices remembered that are not there: they make the file large, and its writing long
FIRST, MOST = 3, 40  # devices that are always there; the others come while it lives, and change the CDI spec


@dataclass
class Written:
    """The two files, and how many kills came between a temporary file and its renaming."""

    state: Path
    spec: Path
    faults: tuple[float, ...] = ()
    between: dict[str, int] = field(default_factory=lambda: {"state file": 0, "CDI spec": 0})

    def check(self) -> None:
        """Both are whole, and no fault that was ever in the file is lost."""
        known = decode(self.state.read_bytes(), time.monotonic(), this_boot())
        assert len(known) >= ABSENT
        if "id:0" in known:
            faults = known["id:0"].faults
            assert faults[: len(self.faults)] == self.faults
            self.faults = faults
        devices = json.loads(self.spec.read_bytes())["devices"]
        assert {device["name"] for device in devices} >= {str(key) for key in range(FIRST)}
        assert all(device["containerEdits"]["deviceNodes"] for device in devices)

    def count(self) -> None:
        """What was killed between the temporary file and its renaming. It stays: no start minds it."""
        for name, path in zip(self.between, (self.state, self.spec), strict=True):
            self.between[name] += new(path).exists()


def new(path: Path) -> Path:
    """What an interrupted write leaves."""
    return path.with_name(f".{path.name}.new")


@contextmanager
def nursery(flags: dict[str, str], log: IO[str]) -> Iterator[tuple[Callable[[], int], Callable[[int], None]]]:
    argv = [sys.executable, str(PROJECT / "tests/nursery.py"), *(f"--{key}={flags[key]}" for key in flags)]
    environment = {"PYTHONPATH": f"{PROJECT / 'src'}:{PROJECT / 'build'}"}
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, env=environment, stdin=pipe, stdout=pipe, stderr=log, text=True) as process:
        assert process.stdin
        assert process.stdout
        said, ask = process.stdout, process.stdin

        def start() -> int:
            ask.write("another\n")
            ask.flush()
            return int(said.readline())

        def kill(child: int) -> None:
            os.kill(child, signal.SIGKILL)
            assert said.readline() == "gone\n"

        yield start, kill


def trouble(host: Host, chance: random.Random, seconds: float, aim: Path | None) -> None:
    """A device that flaps, and others that come: each is something to write.

    aim: goes on until this file is there, which it is for a moment only.
    """
    end, key = time.monotonic() + seconds, FIRST
    until_seen = end + PATIENCE if aim else end
    while time.monotonic() < until_seen:
        host.say(0, chance.choice(["ok", "failed"]))
        if key < MOST:
            host.add(key)
            host.say(key, "ok")
            key += 1
        rest = time.monotonic() + chance.uniform(0, 0.01)
        while (now := time.monotonic()) < rest:
            if aim and now >= end and aim.exists():
                return
            time.sleep(0 if aim else min(rest - now, 0.01))


def clear(host: Host) -> None:
    """None of them is there for the next, which so has to write them anew."""
    for key in range(FIRST, MOST):
        if (host.root / f"dev/toy-{key}").exists():
            host.remove(key)


# Of four kills two come wherever they come, and one each when the next write of a file is seen.
AIMS: list[Callable[[Written], Path | None]] = [
    lambda files: None,
    lambda files: new(files.state),
    lambda files: None,
    lambda files: new(files.spec),
]


def test_killed_at_random_moments(
    host: Host, kubelet: FakeKubelet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither the state file nor the CDI spec is ever seen half-written, and each start finds what was."""
    cdi = tmp_path / "cdi"
    cdi.mkdir()
    files = Written(tmp_path / "state.json", cdi / "example.com_toy.json")
    absent = {f"serial:{key}": Record(HEALTHY, "Present", "x" * 100) for key in range(ABSENT)}
    files.state.write_bytes(encode(absent, time.monotonic(), this_boot()))
    flags = {
        "resource": RESOURCE, "device-glob": "/dev/toy-*", "http-port": "0", "interval": "0.05",
        "plugin-dir": str(host.plugins), "root": str(host.root), "sysfs": str(host.sysfs),
        "health-file": "health", "state-file": str(files.state), "cdi-dir": str(cdi),
        "flapping": "1000000/1000000",
    }  # fmt: skip
    chance = random.Random(17)
    for key in range(FIRST):
        host.add(key)
        host.say(key, "ok")
    began = time.monotonic()
    with (tmp_path / "log").open("w+") as log, nursery(flags, log) as (start, kill):
        for count in range(KILLS):
            registered = len(kubelet.registrations)
            child = start()
            try:
                if count == 0 or chance.random() < 0.9:  # of the rest, most die before they are known
                    until(lambda: len(kubelet.registrations) > registered, f"registration {count}")  # noqa: B023
                trouble(host, chance, chance.uniform(0, LIFE), AIMS[count % len(AIMS)](files))
            finally:
                kill(child)
                kubelet.drop_streams()  # as a kubelet does, which would else try this socket for ever
            files.count()
            files.check()
            for path in (files.state, files.spec):
                if chance.random() < 0.5:  # the other starts find what was left
                    new(path).unlink(missing_ok=True)
            clear(host)
        log.seek(0)
        assert "damaged" not in log.read()
    with capsys.disabled():
        hits = ", ".join(f"{number} while the {name} was written" for name, number in files.between.items())
        print(
            f"\nkilled {KILLS} times in {time.monotonic() - began:.0f} s, {hits}: both whole each time, "
            f"{len(files.faults)} faults remembered"
        )
    assert files.faults
    assert all(files.between.values()), "no kill came between a temporary file and its renaming"
