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


@pytest.mark.parametrize(
    ("capacity", "allocatable", "wanted", "short"),
    [
        ("5", "5", 5, []),
        ("5", "5", None, []),
        ("1k", "1000", 1000, []),
        ("5", "4", None, ["n"]),  # one is unhealthy
        ("4", "4", 5, ["n"]),
        ("5", "0", 5, ["n"]),  # the plugin has gone
        ("0", "0", None, ["n"]),
        (None, None, None, ["n"]),
    ],
)
def test_a_node_is_short_of_devices_when_its_numbers_say_so(capacity, allocatable, wanted, short):
    numbers = {
        which: {"acme.example/widget": number} if number else {}
        for which, number in (("capacity", capacity), ("allocatable", allocatable))
    }
    node = {"name": "n", "labels": {"rack": "7", **LABEL}, "ready": True, "schedulable": True, **numbers}
    definition = {
        **DEFINITION,
        "resource": "acme.example/widget",
        "devices": {"count": wanted},
        "device_plugin": {"replicas": 1},
    }
    cordoned = {**node, "name": "out", "schedulable": False, "capacity": {}, "allocatable": {}}
    assert names.nodes_short_of_devices(definition, {"nodes": [node, cordoned]}) == short
    shared = {**definition, "device_plugin": {"replicas": 3}}
    assert names.nodes_short_of_devices(shared, {"nodes": [node]}) == (short or (["n"] if wanted else []))
