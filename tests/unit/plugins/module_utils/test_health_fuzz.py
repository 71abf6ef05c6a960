# SPDX-License-Identifier: Apache-2.0
"""Whatever answers at /devices: the module does not crash, and calls no node well that is not."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _health, _health_read
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._cluster import Api
from fake_api import FakeApi, listing, thing
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

RESOURCE, LABEL = "example.com/ptemplate", "kmm.node.kubernetes.io/pt.pt.ready"
NODES, PODS = "/api/v1/nodes", "/api/v1/namespaces/pt/pods"
DEVICES = f"{PODS}/plugin:9400/proxy/devices"
PARAMS = {
    "resource": RESOURCE,
    "namespace": "pt",
    "nodes": {"a": "b"},
    "expected": 2,
    "expected_nodes": None,
    "plugin_labels": {"app": "plugin"},
    "port": 9400,
    "ready_label": LABEL,
    "tolerations": [],
}
FUZZ = settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)
HEALTH = st.sampled_from(["Healthy", "Healthy", "Unhealthy", "healthy", ""]) | JSON
DEVICE = st.fixed_dictionaries({"id": st.text(max_size=3) | JSON, "health": HEALTH}, optional={"evidence": JSON})
PAGE = st.fixed_dictionaries(
    {"registered": st.booleans() | JSON, "devices": st.lists(DEVICE | JSON, max_size=3) | JSON},
    optional={"schema": JSON, "resource": JSON},
)
ANSWERS = st.binary(max_size=60) | (PAGE | JSON).map(lambda page: json.dumps(page).encode())


def node(capacity: Any, allocatable: Any) -> Any:
    status = {
        "conditions": [{"type": "Ready", "status": "True"}],
        "capacity": {RESOURCE: capacity},
        "allocatable": {RESOURCE: allocatable},
    }
    return thing("n1", metadata={"labels": {LABEL: ""}}, status=status)


def plugin() -> Any:
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    return thing("plugin", "pt", spec={"nodeName": "n1"}, status=status)


def whole(answer: bytes) -> bool:
    """Whether this is two healthy devices of a registered plugin, and no other."""
    try:
        page = json.loads(answer.decode(errors="replace"))
        return (
            page["registered"] is True
            and len(page["devices"]) >= 2
            and all(isinstance(one["id"], str) and one["health"] == "Healthy" for one in page["devices"])
        )
    except (ValueError, RecursionError, KeyError, TypeError):
        return False


@FUZZ
@given(ANSWERS)
@example(b"[" * 100_000)
@example(b'{"registered": true, "devices": [{"id": "0", "health": "Healthy"}, {"id": "1", "health": "Healthy"}]}')
def test_only_a_whole_answer_of_a_healthy_plugin_is_well(fake: FakeApi, api: Api, answer: bytes) -> None:
    fake.on(NODES, listing(node("2", "2")))
    fake.on(PODS, listing(plugin()))
    fake.on(DEVICES, answer)
    (found,), _elapsed = _health_read.wait(_health_read.Reader(api, PARAMS), "all", 0)
    assert (found["verdict"] == "ok") == whole(answer)
    assert found["verdict"] == "ok" or found["reason"]
    assert len(_health.table([found]).splitlines()) == 2


QUANTITIES = st.sampled_from(["0", "1", "2", "3", "2k", "-2", "1e3", "2.5", "", "two"])


@FUZZ
@given(QUANTITIES, QUANTITIES)
def test_a_node_is_well_only_with_all_that_is_expected(capacity: str, allocatable: str) -> None:
    rules = _health.Rules(RESOURCE, "pt", 2, LABEL)
    verdict = _health.judge(node(capacity, allocatable), _health.Plugin("plugin", True, ""), None, rules).verdict
    numbers = {"2": 2, "3": 3, "2.5": 2, "2k": 2000, "1e3": 1000}
    had, usable = numbers.get(capacity, 0), numbers.get(allocatable, 0)
    assert (verdict != "ok") or (had >= 2 and usable >= had)
