# SPDX-License-Identifier: Apache-2.0
"""The guide's page "bring your own driver", word for word: an accelerator that nobody has seen, from its first file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import yaml
from conftest import ROOT, Lab, UsersCheckout
from snapshot import difference, snapshot

sys.path.insert(0, str(ROOT / "tests" / "repo"))

from guide import blocks

MARKER = "test: own-driver tests/lab/site/test_8_own_driver.py"
STEPS = ("source", "definition", "build", "load", "change", "undo")
RESOURCE = "gizmo.example/gizmo"


def version(lab: Lab, node: str) -> str:
    """Of the driver that is loaded."""
    return lab.ssh(node, "cat /sys/module/gizmo/version").strip()


def test_own_driver_from_the_first_file_to_nothing_left(
    lab: Lab, empty: dict[str, Any], users_checkout: UsersCheckout, say: Callable[[str], None]
) -> None:
    found = [block for block in blocks(ROOT) if block.marker == MARKER]
    assert len(found) == len(STEPS), [block.name for block in found]
    step = dict(zip(STEPS, found, strict=True))
    (users_checkout.folder / "site.yml").write_text(yaml.safe_dump({"accelerator_overrides": lab.overrides}))

    assert users_checkout.run(f"{step['source'].text}ls gizmo/driver").code == 0
    assert users_checkout.run(f"{step['definition'].text}ls gizmo").code == 0
    built = users_checkout.run(step["build"].text)
    assert built.output.count("changed=1") == 2, "check mode and the build itself each see one image to make"
    assert lab.allocatable(RESOURCE) == 0, "nothing but the image was made"

    loaded = users_checkout.run(step["load"].text)
    nodes = lab.nodes
    assert lab.allocatable(RESOURCE) == 2 * len(nodes)
    assert lab.ssh(nodes[0], "cat /dev/gizmo-0").strip() == "gizmo-0"
    assert version(lab, nodes[0]) == "1.0"

    changed = users_checkout.run(step["change"].text)
    assert version(lab, nodes[0]) == "1.1", "the driver that is loaded is still the old one"
    assert lab.allocatable(RESOURCE) == 2 * len(nodes)

    users_checkout.run(step["undo"].text)
    assert difference(empty, snapshot(lab)) == []
    say(f"built in {built.seconds:.0f} s, offered in {loaded.seconds:.0f} s, changed in {changed.seconds:.0f} s")
