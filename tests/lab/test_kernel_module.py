# SPDX-License-Identifier: Apache-2.0
"""The kernel module in the lab's node, under its distribution's kernel with two processors."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from conftest import ROOT, LabCommand

NODE = "node-1"
LINE = re.compile(r"^(?P<bad>not )?ok \d+ - (?P<name>.*?) \((?P<seconds>[\d.]+) s\)(?: # SKIP (?P<skip>.*))?$")


@dataclass(frozen=True)
class Result:
    name: str
    passed: bool
    skip: str
    said: tuple[str, ...]  # the comments before and after it


def read_tap(text: str) -> list[Result]:
    """The results of a TAP text, which must be complete. Comments belong to the result that follows, if it passed."""
    results: list[Result] = []
    said: list[str] = []
    plan = re.search(r"^1\.\.(\d+)$", text, re.M)
    assert plan, f"expected a TAP plan, seen: {text[-1000:]}"
    for line in text.splitlines():
        if found := LINE.match(line):
            results.append(Result(found["name"], not found["bad"], found["skip"] or "", tuple(said)))
            said = []
        elif line.startswith("# "):
            said.append(line[2:])
    assert len(results) == int(plan[1]), f"expected {plan[1]} results, seen {len(results)}: {text[-2000:]}"
    return results


def in_node(part: str) -> list[Result]:
    """Runs tests/node.sh; fails with what it said if a test there failed."""
    argv = [str(ROOT / "files/kernel_module/tests/node.sh"), part, str(ROOT / "lab/lab"), "ssh", NODE]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=1500)
    results = read_tap(done.stdout) if "TAP version" in done.stdout else []
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    assert results
    return results


@pytest.fixture(scope="module")
def free_node(lab: LabCommand) -> None:
    loaded = lab("ssh", NODE, "lsmod | grep ^ptemplate_char_dev || true")
    assert not loaded, f"{NODE}: expected no loaded module, seen: {loaded}; next: lab/lab play playbooks/teardown.yml"


def test_suite_and_stress(free_node: None, lab: LabCommand, say: Callable[[str], None]) -> None:
    assert int(lab("ssh", NODE, "nproc")) >= 2, "races need two processors"
    results = in_node("suite")
    assert [result.name for result in results if not result.passed] == []
    stress = [result for result in results if "16 threads" in result.name]
    assert len(stress) == 2
    assert [result.skip for result in stress] == ["", ""]
    for result in results:
        if result.skip:
            say(f"skipped: {result.name}: {result.skip}")
    for result in stress:
        say(" ".join(result.said))
