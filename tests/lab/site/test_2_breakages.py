# SPDX-License-Identifier: Apache-2.0
"""Each link of the chain is broken once: accelerator_explain names it, and all is well when it is mended."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from breakages import BREAKAGES, OPERATOR, RESOURCE, TEAM, Breakage, Ward
from conftest import ROOT, Lab, wait_for

sys.path.insert(0, str(ROOT / ".ansible" / "collections"))

import yaml
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _definition

EXAMPLE = ROOT / "playbooks/vars/ptemplate.yml"
BOUND = 240  # seconds, for what is told by its measured time
# All of them take 20 minutes: make soak. make test has a cheap one of each link that has one.
CASES = [breakage for breakage in BREAKAGES if os.environ.get("ACCELERATOR_SOAK") or not breakage.soak]


def explain(lab: Lab, pod: str = "") -> dict[str, Any]:
    """The module by itself, as a play calls it."""
    given = yaml.safe_load(EXAMPLE.read_text())["accelerator"]
    definition = _definition.load(given, lab.overrides, str(EXAMPLE.parent))
    arguments = {"definition": definition, **({"pod": pod} if pod else {})}
    return lab.module("accelerator_explain", arguments)


def whole(lab: Lab) -> bool:
    return explain(lab)["ok"] and lab.allocatable(RESOURCE) == 5 * len(lab.nodes)


@pytest.fixture(scope="module")
def ward(lab: Lab) -> Iterator[Ward]:
    """The operator would mend some breakages before anybody could look, so it is sent away; and what holds devices."""
    wait_for("healthy before the first breakage", lambda: whole(lab), BOUND)
    made = Ward(lab)
    for component in ("operator", "consumer"):  # in this order: the operator would scale the consumer up again
        made.kubectl("scale", f"deployment/ptemplate-{component}", "--replicas=0")
        made.kubectl("wait", "pod", "-l", f"app.kubernetes.io/component={component}", "--for=delete", "--timeout=120s")
    yield made
    made.kubectl("scale", OPERATOR, "deployment/ptemplate-consumer", "--replicas=1")
    made.kubectl("rollout", "status", OPERATOR, "--timeout=300s")
    wait_for("healthy after the last breakage", lambda: whole(lab), BOUND)


def named(lab: Lab, breakage: Breakage) -> list[dict[str, Any]]:
    """The row, once it names this link with these words: a cluster takes its time to break."""
    found = explain(lab, f"{TEAM}/{breakage.pod}" if breakage.pod else "")
    (row,) = found["pods"] if breakage.pod else [one for one in found["nodes"] if one["node"] == lab.nodes[0]]
    right = row["link"] in breakage.link.split("|") and re.search(breakage.said, row["evidence"]["value"])
    return [row] if right and row["state"] == "broken" else []


@pytest.mark.parametrize("breakage", CASES, ids=lambda breakage: breakage.name.replace(" ", "-"))
def test_each_breakage_is_named_and_mended(
    lab: Lab, ward: Ward, say: Callable[[str], None], breakage: Breakage
) -> None:
    rows: list[dict[str, Any]] = []
    start = time.monotonic()
    try:
        breakage.do(ward)
        wait_for(
            f"{breakage.link}: {breakage.said}",
            lambda: rows.extend(named(lab, breakage)) or rows,
            BOUND,
        )
    except AssertionError as error:
        raise AssertionError(f"{error}\n{explain(lab)['summary']}") from None
    finally:
        told = time.monotonic() - start
        breakage.undo(ward)
    (row,) = rows
    assert row["fix"]
    assert row["next"]
    start = time.monotonic()
    wait_for(f"{breakage.name}: healthy again", lambda: whole(lab), BOUND)
    say(
        f"{row['link']} named after {told:.0f} s: {' '.join(row['evidence']['value'].split())[:160]} | "
        f"fix: {row['fix']} | next: {row['next']} | healthy {time.monotonic() - start:.0f} s after it was mended"
    )


def test_no_link_that_can_stay_broken_is_missing() -> None:
    """hardware, node_config and capacity mend themselves, or need another machine: tests/unit has them."""
    assert len(BREAKAGES) >= 14
    links = {link for breakage in BREAKAGES for link in breakage.link.split("|")}
    assert {
        "node",
        "label",
        "custom_resource",
        "module",
        "selector",
        "image",
        "loaded",
        "device_nodes",
        "plugin",
        "registration",
        "allocatable",
        "taints",
        "pod",
    } <= links
