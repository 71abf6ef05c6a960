# SPDX-License-Identifier: Apache-2.0
"""What one link of the chain says, and what all links look at. Pure. PRIVATE."""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names as names
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _safe as safe
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._explain._pods import Pod
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._explain._records import (
    Custom,
    Json,
    Module,
    Node,
    NodeConfig,
    Snapshot,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._health import Report

ACTION = "kmm.node.kubernetes.io/worker-action"  # on KMM's worker pods
PULLED = "-pull-pod-"  # in the names of the pods by which KMM sees whether an image can be pulled

# absent: the node has no such hardware, so nothing is wanted there, and nothing is broken.
OK, BROKEN, UNKNOWN, ABSENT = "ok", "broken", "unknown", "absent"


class Finding(t.NamedTuple):
    """One link: its state, on what field of what object that rests, and what to do."""

    state: str
    object: str
    field: str
    seen: str
    expected: str = ""
    fix: str = ""
    next: str = ""


def fine(where: str, field: str, seen: t.Any) -> Finding:
    return Finding(OK, where, field, str(seen))


def broken(where: str, field: str, seen: t.Any, expected: str, fix: str, command: str) -> Finding:
    return Finding(BROKEN, where, field, str(seen), expected, fix, command)


def unread(what: str, why: str) -> Finding:
    fix = f"let this user list {what}, or run it as one who may"
    return Finding(UNKNOWN, what, "", why, "to be read", fix, f"kubectl auth can-i list {what} -A")


class Cluster:
    """A snapshot with what the links of all nodes look up, found once."""

    def __init__(self, definition: Json, snapshot: Snapshot) -> None:
        self.definition, self.snapshot = definition, snapshot
        self.name: str = definition["name"]
        self.namespace: str = definition["namespace"]
        self.resource: str = definition["resource"]
        self.tolerations = names.tolerations(definition)
        self.custom: t.Optional[Custom] = next((c for c in snapshot.customs if c.name == self.name), None)
        self.module: t.Optional[Module] = next((m for m in snapshot.modules if m.name == self.name), None)
        self.devices: t.Optional[int] = _devices(definition, self.custom)
        self.expected: t.Optional[int] = self.devices and self.devices * definition["device_plugin"]["replicas"]
        self.plugins = by_node(snapshot.pods, names.plugin_labels(definition))
        self.workers = {
            pod.node: pod
            for pod in snapshot.pods
            if ACTION in pod.labels and pod.node and pod.labels.get(names.BY_KMM, self.name) == self.name
        }
        self.pullers = [pod for pod in snapshot.pods if pod.name.startswith(f"{self.name}{PULLED}")]
        self.rejected = _first_rejected(snapshot.users, self.resource)

    def unread(self, plural: str) -> str:
        """Why the objects of a kind could not be listed; empty when they could. NFD's kinds are of either group."""
        found = (why for what, why in self.snapshot.unread.items() if plural in (what, what.partition(".")[0]))
        return next(found, "")

    def play(self, stage: str) -> str:
        return f"ansible-playbook ecosystem_edge.accelerator.{stage} -e @DEFINITION"

    def kubectl(self, rest: str) -> str:
        return f"kubectl -n {self.namespace} {rest}"


class Scene(t.NamedTuple):
    """One node in its cluster."""

    cluster: Cluster
    node: Node

    @property
    def where(self) -> str:
        return f"Node/{self.node.name}"

    @property
    def plugin(self) -> t.Optional[Pod]:
        return self.cluster.plugins.get(self.node.name)

    @property
    def report(self) -> t.Optional[Report]:
        return self.cluster.snapshot.reports.get(self.plugin.name) if self.plugin else None

    @property
    def config(self) -> t.Optional[NodeConfig]:
        return self.cluster.snapshot.node_configs.get(self.node.name)

    @property
    def capacity(self) -> t.Optional[int]:
        return self.node.capacity.get(self.cluster.resource)

    @property
    def allocatable(self) -> int:
        return self.node.allocatable.get(self.cluster.resource, 0)

    @property
    def full(self) -> bool:
        """Whether the kubelet has all devices and calls them healthy: then a plugin need not be asked."""
        least = 1 if self.cluster.expected is None else self.cluster.expected
        return self.allocatable == self.capacity and self.allocatable >= least


def by_node(pods: t.Iterable[Pod], labels: t.Mapping[str, str]) -> t.Dict[str, Pod]:
    """One pod a node: the ready one where an old pod is still going."""
    found: t.Dict[str, Pod] = {}
    for pod in pods:
        ours = all(pod.labels.get(key) == value for key, value in labels.items())
        if ours and pod.node and not (pod.node in found and found[pod.node].ready):
            found[pod.node] = pod
    return found


def _first_rejected(users: t.Iterable[Pod], resource: str) -> t.Dict[str, Pod]:
    found: t.Dict[str, Pod] = {}
    for pod in users:
        if pod.rejected and resource in pod.wants:
            found.setdefault(pod.node, pod)
    return found


def _devices(definition: Json, custom: t.Optional[Custom]) -> t.Optional[int]:
    """How many devices a node should have: a field of the custom resource may say so, before the definition."""
    for name, field in definition["operator"]["fields"].items():
        number = safe.whole(custom.spec, name) if custom and field["counts_devices"] else None
        if number is not None:
            return number
    return definition["devices"]["count"]
