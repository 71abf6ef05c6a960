# SPDX-License-Identifier: Apache-2.0
"""Devices that died under a pod -> Events on that pod, so that its owner reads it where he looks first. Pure.

Which pod has a device is in what the device plugin says at /devices. A plugin has no right on pods; the operator has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names

from accelerator_operator.objects import Obj, component_of, pod_is_running
from accelerator_operator.reconcile import Observed

REASON = "DeviceUnhealthy"
LONGEST_NOTE = 1024  # characters, by the Event API's validation
LONGEST_NAME = 253


@dataclass(frozen=True)
class Loss:
    """A device that died while a container had it."""

    namespace: str
    pod: str
    container: str
    node: str
    device: str
    since: str
    why: str

    @property
    def key(self) -> str:
        """The same for the same death, whoever tells it and how often."""
        told = "\0".join((self.namespace, self.pod, self.container, self.node, self.device, self.since))
        return hashlib.sha256(told.encode()).hexdigest()[:16]


def askable(definition: Obj, observed: Observed) -> list[Obj]:
    """Plugins' pods to ask: those of nodes that offer fewer devices than the kubelet knows of."""
    resource = definition["resource"]
    lossy = {
        node["name"]
        for node in observed.nodes
        if _count(node, "allocatable", resource) < _count(node, "capacity", resource)
    }
    return [
        pod
        for pod in observed.pods
        if component_of(pod, definition["name"]) == "device-plugin"
        and pod_is_running(pod)
        and pod.get("spec", {}).get("nodeName") in lossy
        and pod.get("status", {}).get("podIP")
    ]


def losses(node: str, report: Any) -> list[Loss]:
    """What a plugin's report tells of; what it should not say is left out, it comes from a node."""
    return list(_losses(node, report))


def _losses(node: str, report: Any) -> Iterator[Loss]:
    for device in _list(_mapping(report).get("devices")):
        told = _mapping(device)
        if told.get("health") != "Unhealthy" or not _text(told.get("id")):
            continue
        why = ": ".join(filter(None, (_text(told.get("reason")), _text(told.get("evidence")))))
        for holder in map(_mapping, _list(told.get("pods"))):
            namespace, pod = _text(holder.get("namespace")), _text(holder.get("name"))
            if namespace and pod:
                container = _text(holder.get("container"))
                yield Loss(namespace, pod, container, node, _text(told["id"]), _text(told.get("since")), why)


def event(loss: Loss, definition: Obj, uid: str, now: datetime) -> Obj:
    """The Event on the pod. uid: the pod's, without which `kubectl describe pod` would not show it."""
    note = (
        f"container {loss.container}: device {loss.device} of {definition['resource']} on node {loss.node} died: "
        f"{loss.why or 'no reason given'}; the container keeps it, and may fail; delete the pod to get another device"
    )
    stamp = now.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": f"{loss.pod[: LONGEST_NAME - 17]}.{loss.key}",
            "namespace": loss.namespace,
            "labels": {_names.LABEL_PART_OF: definition["name"], _names.LABEL_MANAGED_BY: _names.OPERATOR},
        },
        "eventTime": stamp,
        "type": "Warning",
        "reason": REASON,
        "action": "Watching",
        "note": note if len(note) <= LONGEST_NOTE else f"{note[: LONGEST_NOTE - 1]}…",
        "reportingController": f"{definition['operator']['api']['group']}/operator",
        "reportingInstance": _names.operator(definition),
        "regarding": {"apiVersion": "v1", "kind": "Pod", "namespace": loss.namespace, "name": loss.pod, "uid": uid},
        "related": {"apiVersion": "v1", "kind": "Node", "name": loss.node},
    }


def _count(node: Obj, which: str, resource: str) -> int:
    return _names.count(node.get(which, {}).get(resource, 0))


def _mapping(value: Any) -> Obj:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
