# SPDX-License-Identifier: Apache-2.0
"""What is wanted and what was seen -> what to do next. Pure: whoever calls it does it.

Level-triggered: nothing here knows which event woke the operator, or what it did before, except for the fingerprints
that spare the API server an apply that would change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _manifests, _names

from accelerator_operator.objects import (
    OWNED_KINDS,
    Key,
    Obj,
    component_of,
    digest,
    fingerprint,
    is_going,
    is_kmms,
    key,
    labels,
    owner_uid,
    with_owner,
)

STAGES = ("kmm", "device_plugin", "consumer")

# Reverse of the way of the data: nobody loses a driver under his feet. What is in one step goes at once.
TEARDOWN = (
    (("Deployment",), "consumer"),
    (("DaemonSet", "Service"), "device-plugin"),
    (("Module",), None),
    (("RoleBinding", "ServiceAccount"), None),
)


@dataclass(frozen=True)
class Observed:
    """One reading of the cluster: objects that are part of this accelerator, views of all nodes, pods."""

    objects: list[Obj]
    nodes: list[Obj]
    pods: list[Obj]


@dataclass(frozen=True)
class Wanted:
    """All objects of one custom resource, and the definition that is in effect with it."""

    definition: Obj
    objects: list[Obj]
    node_labels: dict[str, dict[str, str]]


@dataclass
class Applied:
    """What the last apply of an object sent and got back: (digest of the wanted, fingerprint of the live).

    doubt_until: the monotonic time, in seconds, until which KMM's status may still speak of the Module before.
    """

    seen: dict[Key, tuple[str, str]] = field(default_factory=dict)
    doubt_until: float = 0.0

    def settled(self, wanted: Obj, live: Obj) -> bool:
        return self.seen.get(key(wanted)) == (digest(wanted), fingerprint(live))

    def record(self, wanted: Obj, live: Obj) -> None:
        self.seen[key(wanted)] = (digest(wanted), fingerprint(live))


@dataclass(frozen=True)
class Plan:
    """Actions in this order; `waiting_for` says what a deletion still waits for, None that it is over."""

    apply: list[Obj] = field(default_factory=list)
    delete: list[Obj] = field(default_factory=list)
    waiting_for: str | None = None


def wanted(definition: Obj, platform: str, resource: Obj, nodes: list[Obj]) -> Wanted:
    """Raises ValueError for a spec that makes no sense; the message is for the user."""
    effective, images = _manifests.effective(definition, resource["spec"])
    facts = {"platform": platform, "nodes": nodes}
    rendered = [
        obj for stage in STAGES for obj in _manifests.render(stage, effective, facts, images, manager=_names.OPERATOR)
    ]
    return Wanted(
        definition=effective,
        objects=[with_owner(obj, resource) for obj in rendered if obj["kind"] in OWNED_KINDS],
        node_labels={obj["metadata"]["name"]: labels(obj) for obj in rendered if obj["kind"] == "Node"},
    )


def conflict(want: Wanted, resource: Obj, observed: Observed) -> str | None:
    """Why this custom resource may not write: one writer per object."""
    names = {key(obj) for obj in want.objects}
    for live in observed.objects:
        if key(live) not in names:
            continue
        what = f"{live['kind']} {live['metadata']['namespace']}/{live['metadata']['name']}"
        if owner_uid(live) not in (None, resource["metadata"]["uid"]):
            owner = next(ref["name"] for ref in live["metadata"]["ownerReferences"] if ref.get("controller"))
            return (
                f"{what} belongs to {resource['kind']} {owner}; one is served per accelerator: "
                f"delete {resource['kind']} {resource['metadata']['name']} or {owner}"
            )
        if labels(live).get(_names.LABEL_MANAGED_BY) == _names.PLAYBOOK:
            return f"{what} was made by a playbook with managed_by: playbook; run teardown.yml with it first"
    return None


def plan(want: Wanted, resource: Obj, observed: Observed, applied: Applied) -> Plan:
    """Apply what is missing or was changed, delete what is no longer wanted, put the version label on nodes."""
    live = {key(obj): obj for obj in observed.objects}
    apply = [obj for obj in want.objects if key(obj) not in live or not applied.settled(obj, live[key(obj)])]
    names = {key(obj) for obj in want.objects}
    surplus = [obj for obj in _mine(observed, resource) if key(obj) not in names and not is_going(obj)]
    return Plan(apply=apply + _node_labels(want, observed.nodes), delete=surplus)


def teardown(definition: Obj, resource: Obj, observed: Observed) -> Plan:
    """The next step of a deletion, recomputed from what is left; the finalizer stays while `waiting_for` is set."""
    if any(owner_uid(obj) not in (None, resource["metadata"]["uid"]) for obj in observed.objects):
        return Plan()  # another custom resource is served: this one has written nothing
    mine = _mine(observed, resource)
    for kinds, component in TEARDOWN:
        left = [obj for obj in mine if obj["kind"] in kinds]
        pods = [pod for pod in observed.pods if component and _is_ours(pod, component, definition)]
        if left or pods:
            return Plan(
                delete=[obj for obj in left if not is_going(obj)],
                waiting_for=_what_is_left(left, pods, definition),
            )
    label = _names.version_label(definition)
    return Plan(apply=[_labelled(node, {}) for node in observed.nodes if label in node["labels"]])


def _is_ours(pod: Obj, component: str, definition: Obj) -> bool:
    """KMM's own pods go with the Module, in a later step, and not before."""
    return component_of(pod, definition["name"]) == component and not is_kmms(pod, definition["name"])


def _mine(observed: Observed, resource: Obj) -> list[Obj]:
    written = [obj for obj in observed.objects if labels(obj).get(_names.LABEL_MANAGED_BY) == _names.OPERATOR]
    return [obj for obj in written if owner_uid(obj) in (None, resource["metadata"]["uid"])]


def _node_labels(want: Wanted, nodes: list[Obj]) -> list[Obj]:
    """Partial Nodes for those whose version label is missing, wrong, or no longer wanted."""
    label = _names.version_label(want.definition)
    partials = []
    for node in nodes:
        expected = want.node_labels.get(node["name"], {})
        stale = label in node["labels"] and label not in expected
        if stale or any(node["labels"].get(name) != value for name, value in expected.items()):
            partials.append(_labelled(node, expected))
    return partials


def _labelled(node: Obj, expected: dict[str, str]) -> Obj:
    # The uid makes the API server refuse to create a Node that has gone meanwhile.
    metadata = {"name": node["name"], "uid": node["uid"], "labels": expected}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata}


def _what_is_left(left: list[Obj], pods: list[Obj], definition: Obj) -> str:
    namespace = definition["namespace"]
    names = [f"{obj['kind']} {obj['metadata']['name']}" for obj in left]
    names += [f"Pod {pod['metadata']['name']} on {pod.get('spec', {}).get('nodeName', 'no node')}" for pod in pods]
    hint = f"kubectl -n {namespace} get {','.join(sorted({name.split()[0].lower() for name in names}))}"
    if any(obj["kind"] == "Module" for obj in left):
        hint = (
            f"KMM is unloading {definition['driver']['module']}; if it stays, a process holds a device: "
            f"kubectl -n {namespace} get pods,nodemodulesconfigs"
        )
    return f"waiting until these are gone: {', '.join(names)}; see {hint}"
