# SPDX-License-Identifier: Apache-2.0
"""Which taints keep pods away, and what tolerates them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests import _taints as taints

OURS = {"key": "acme.example/widget", "value": "yes", "effect": "NoSchedule"}
CORDONED = taints.Taint(taints.CORDON, "", "NoSchedule")
WIDGET = taints.Taint("acme.example/widget", "yes", "NoSchedule")


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ({}, []),
        ({"taints": None}, []),
        ({"taints": [OURS]}, [WIDGET]),
        ({"taints": [{**OURS, "effect": "NoExecute"}]}, [WIDGET._replace(effect="NoExecute")]),
        ({"taints": [{**OURS, "effect": "PreferNoSchedule"}]}, []),
        ({"taints": [{"key": "k", "effect": "NoSchedule"}]}, [taints.Taint("k", "", "NoSchedule")]),
        ({"unschedulable": True}, [CORDONED]),
        ({"unschedulable": True, "taints": [{"key": taints.CORDON, "effect": "NoSchedule"}]}, [CORDONED]),
        ({"taints": [7, {}, {"key": 7}]}, []),
        ({"taints": "odd"}, []),
    ],
)
def test_which_taints_keep_pods_away(spec: dict[str, Any], found: list[taints.Taint]) -> None:
    assert taints.repelling(spec) == found


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        ({"key": "acme.example/widget", "value": "yes"}, True),
        ({"key": "acme.example/widget", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}, True),
        ({"key": "acme.example/widget", "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),
        ({"operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "acme.example/widget"}, False),
        ({"key": "acme.example/widget", "value": "no"}, False),
        ({"key": "acme.example/other", "operator": "Exists"}, False),
        ({}, False),
        # As a filled definition has it.
        ({"key": "acme.example/widget", "operator": "Exists", "value": None, "effect": None}, True),
    ],
)
def test_what_is_tolerated(toleration: dict[str, Any], tolerated: bool) -> None:
    assert taints.untolerated([WIDGET], [toleration]) == ([] if tolerated else [WIDGET])


def test_each_taint_wants_a_toleration() -> None:
    wanted = [WIDGET, WIDGET._replace(key="team")]
    assert taints.untolerated(wanted, [{"key": "team", "operator": "Exists"}]) == [WIDGET]
    assert taints.untolerated(wanted, ({"key": one.key, "operator": "Exists"} for one in wanted)) == []


def test_a_cordon_lasts_and_the_nodes_condition_does_not() -> None:
    passing = [taints.Taint(f"node.kubernetes.io/{what}", "", "NoSchedule") for what in ("not-ready", "disk-pressure")]
    assert taints.lasting([WIDGET, CORDONED, *passing]) == [WIDGET, CORDONED]


def test_pods_tolerate_nothing_of_kubernetes_own() -> None:
    ours = {"key": "acme.example/widget", "operator": "Exists"}
    dead = {"key": "node.kubernetes.io/unreachable", "operator": "Exists"}
    assert taints.of_pods([ours, {"key": taints.CORDON, "operator": "Exists"}, dead]) == [ours]


@pytest.mark.parametrize(
    ("toleration", "said"),
    [
        ({"key": "k", "value": "v"}, []),
        ({"key": "k"}, []),
        ({"key": "k", "operator": "Exists", "value": ""}, []),
        (
            {"key": "k", "operator": "Exists", "value": "v"},
            ["tolerations[1].value: expected none with operator Exists; seen 'v'"],
        ),
    ],
)
def test_what_the_api_server_would_refuse(toleration: dict[str, Any], said: list[str]) -> None:
    assert list(taints.mistakes([{"key": "fine"}, toleration])) == said
