# SPDX-License-Identifier: Apache-2.0
"""Teardown leaves nothing: the cluster is as it was before the first run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from conftest import ROOT, Lab, UsersCheckout
from snapshot import difference, snapshot

sys.path.insert(0, str(ROOT / "tests" / "repo"))

from guide import blocks

LAST = [block for block in blocks(ROOT) if block.marker == "test: lab-last"]
SITE, TEARDOWN = "playbooks/site.yml", "playbooks/teardown.yml"


def test_teardown_leaves_what_was_before(
    lab: Lab, empty: dict[str, Any], users_checkout: UsersCheckout, say: Callable[[str], None]
) -> None:
    """The first teardown is the guide's, word for word."""
    if not lab.allocatable("example.com/ptemplate"):
        lab.play(SITE).ok()
    installed = difference(empty, snapshot(lab))
    assert any("ptemplate" in line for line in installed), installed
    assert len(LAST) == 1
    first = users_checkout.run(LAST[0].text)
    after = snapshot(lab)
    left = difference(empty, after)
    say(f"teardown: {first.seconds:.0f} s; {len(installed)} differences from an empty lab before, {len(left)} after")
    assert left == []
    for node in after["nodes"].values():
        assert node["devices"] == []
        assert "ptemplate_char_dev" not in node["modules"]
        assert "example.com/ptemplate" not in node["capacity"]
        assert not [label for label in node["labels"] if "ptemplate" in label]


def test_a_second_teardown_changes_nothing(lab: Lab, empty: dict[str, Any]) -> None:
    assert lab.play(TEARDOWN).ok().recap["changed"] == 0
    assert difference(empty, snapshot(lab)) == []
