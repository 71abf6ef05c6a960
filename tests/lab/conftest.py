# SPDX-License-Identifier: Apache-2.0
"""Labs for the tests of the lab itself: the running one, and one of their own that they may break."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from measured import pytest_terminal_summary, say  # noqa: E402

__all__ = ("pytest_terminal_summary", "say")


class LabCommand:
    """lab/lab for one instance; the running lab if it has no name."""

    def __init__(self, instance: str | None = None) -> None:
        self.argv = [str(ROOT / "lab" / "lab"), *(["--instance", instance] if instance else [])]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen([*self.argv, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def __call__(self, *arguments: str, timeout: float = 1800, code: int = 0) -> str:
        done = subprocess.run([*self.argv, *arguments], capture_output=True, text=True, timeout=timeout)
        assert done.returncode == code, f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + (done.stderr if code else "")

    def get(self, *arguments: str) -> dict[str, Any]:
        return json.loads(self("kubectl", "get", *arguments, "-o", "json"))


@pytest.fixture(scope="session")
def lab() -> LabCommand:
    command = LabCommand()
    command("up")  # whole and ready; it may be late on a busy host just now
    return command


@pytest.fixture(scope="module")
def second() -> Iterator[LabCommand]:
    """A lab beside the running one; gone afterwards."""
    command = LabCommand("test-second")
    command("down")
    yield command
    command("down")


SECONDS_TO_SAY = 120
FAILURES = 3  # about which the lab is asked: one that is ill takes its time to say so
ASKED = pytest.StashKey[int]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure is told together with what its lab says of itself then: the tests after it change that."""
    report = yield
    asked = item.config.stash.get(ASKED, 0)
    if report.failed and asked < FAILURES:
        item.config.stash[ASKED] = asked + 1
        arguments = getattr(item, "funcargs", {}).values()
        labs = [argument for argument in arguments if isinstance(argument, LabCommand)] or [LabCommand()]
        report.sections += [(f"{' '.join(lab.argv)} at that moment", lab_says(lab)) for lab in labs]
    return report


def lab_says(lab: LabCommand) -> str:
    try:
        done = subprocess.run(
            [*lab.argv, "diagnose"], capture_output=True, text=True, timeout=SECONDS_TO_SAY, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"the lab cannot be asked: {error}"
    return done.stdout + done.stderr
