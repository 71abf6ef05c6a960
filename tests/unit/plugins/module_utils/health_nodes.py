# SPDX-License-Identifier: Apache-2.0
"""Nodes, plugin pods and reports for the tests of the health."""

from __future__ import annotations

from typing import Any

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _health
from fake_api import thing

RESOURCE = "example.com/ptemplate"
LABEL = "kmm.node.kubernetes.io/pt.pt.ready"
RULES = _health.Rules(RESOURCE, "pt", 5, LABEL)
PLUGIN = _health.Plugin("plugin-x", True, "")


def node(capacity: int | None = 5, allocatable: int = 5, ready: str = "True", driver: bool = True) -> Any:
    status: dict[str, Any] = {"conditions": [{"type": "Ready", "status": ready}]}
    if capacity is not None:
        status |= {"capacity": {RESOURCE: str(capacity)}, "allocatable": {RESOURCE: str(allocatable)}}
    return thing("n1", metadata={"labels": {LABEL: ""} if driver else {}}, status=status)


def cordoned(**options: Any) -> Any:
    return node(**options) | {"spec": {"unschedulable": True}}


def devices(*health: str) -> list[Any]:
    return [
        {"id": str(n), "path": f"/dev/ptemplate-{n}", "health": word, "reason": f"{word}Reason", "since": "2026"}
        for n, word in enumerate(health)
    ]


def report(*health: str, registered: bool = True) -> _health.Report:
    return _health.Report(registered, devices(*health))


FIVE = ["Healthy"] * 5


def pod(name: str, on: str | None = "n1", ready: str = "True", **rest: Any) -> Any:
    conditions = [{"type": "Ready", "status": ready}]
    status = {"phase": "Running", "conditions": conditions, **rest.pop("status", {})}
    return thing(name, "pt", spec={"nodeName": on} if on else {}, status=status, **rest)
