# SPDX-License-Identifier: Apache-2.0
"""Which nodes are counted on."""

from __future__ import annotations

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.filter import names

LABEL = {"feature.node.kubernetes.io/widget.present": "true"}
DEFINITION = {"name": "widget", "nodes": {"rack": "7"}, "hardware": {"node_label": None}}


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ({}, ["n"]),
        ({"labels": LABEL}, []),
        ({"labels": {"rack": "7"}}, []),
        ({"schedulable": False}, []),  # named by the user, and cordoned or tainted: KMM loads nothing there
        ({"ready": False}, []),
    ],
    ids=["usable", "elsewhere", "without the hardware", "tainted", "not ready"],
)
def test_a_node_is_expected_when_it_can_be_used(node, expected):
    usual = {"name": "n", "labels": {"rack": "7", **LABEL}, "ready": True, "schedulable": True}
    assert names.expected_nodes(DEFINITION, {"nodes": [{**usual, **node}]}) == expected
