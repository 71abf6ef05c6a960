# SPDX-License-Identifier: Apache-2.0
"""The guide's drill, word for word; refusals; and a drill that is killed, after which the node heals by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT, Lab, UsersCheckout, wait_for

sys.path.insert(0, str(ROOT / "tests" / "repo"))

from guide import blocks

DRILL, RESOURCE = "playbooks/drill.yml", "example.com/ptemplate"
BLOCKS = [block for block in blocks(ROOT) if block.marker.startswith("test: drill ")]
FAULTS = "cat /sys/kernel/debug/ptemplate/*/fault"


def healthy(lab: Lab) -> bool:
    ready = lab.get("deployment", "ptemplate-consumer", "-n", "ptemplate")["status"].get("availableReplicas", 0)
    return ready >= 1 and lab.allocatable(RESOURCE) == 5 * len(lab.nodes)


@pytest.fixture(autouse=True)
def _as_it_was(lab: Lab) -> object:
    wait_for("healthy before the drill", lambda: healthy(lab), 300)
    yield
    pods = lab.kubectl("get", "pods", "-n", "ptemplate", "-l", "app.kubernetes.io/component=drill", "-o", "name")
    assert pods == ""
    assert set(lab.ssh(lab.nodes[0], FAULTS).split()) == {"none"}


def test_the_guides_drill(users_checkout: UsersCheckout, say: Callable[[str], None]) -> None:
    (block,) = BLOCKS
    report = Path("/tmp/drill.html")
    report.unlink(missing_ok=True)
    done = users_checkout.run(block.text)
    lines = [line.strip(" -'") for line in done.output.splitlines()]
    rows = [line for line in lines if line.startswith("node-1 ")]
    assert [row.split()[1] for row in rows] == ["error", "hang", "removed", "corrupt"], done.output[-4000:]
    assert all(row.endswith("ok") for row in rows)
    assert "within budget" in report.read_text()
    for row in rows:
        say(" ".join(row.split()))
    say(f"the drill took {done.seconds:.0f} s")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "drill_nodes: expected the names of the nodes"),
        (["drill_nodes=nowhere"], "expected a node nowhere, seen none"),
        (["drill_nodes=node-1", "drill_faults=melt"], "expected some of error, hang, removed, corrupt; seen melt"),
    ],
)
def test_what_is_not_named_for_it_is_not_drilled(lab: Lab, arguments: list[str], said: str) -> None:
    play = lab.play(DRILL, *[word for one in arguments for word in ("-e", one)])
    assert said in play.complaint
    assert play.recap["changed"] == 0


@pytest.mark.skipif("ACCELERATOR_SOAK" not in os.environ, reason="takes two minutes: make soak")
def test_a_drill_that_is_killed_leaves_nothing(lab: Lab, say: Callable[[str], None]) -> None:
    """Killed with all its children while the device is ill: the pod ends the fault, and itself, by its own clock."""
    node = lab.nodes[0]
    argv = ["lab/lab", "play", DRILL, "-e", f"drill_nodes={node}", "-e", "drill_faults=error"]
    play = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_for("the fault", lambda: "error" in lab.ssh(node, FAULTS), 120)
    finally:
        os.killpg(play.pid, signal.SIGKILL)
        play.wait()
    left = "error" in lab.ssh(node, FAULTS)
    seconds = wait_for("the node heals by itself", lambda: "error" not in lab.ssh(node, FAULTS), 180)
    say(f"killed while the fault was {'there' if left else 'ending'}: gone by itself {seconds:.0f} s later")
    again = lab.play(DRILL, "-e", f"drill_nodes={node}", "-e", "drill_faults=error").ok()
    assert "End what an interrupted drill has left" in again.output
