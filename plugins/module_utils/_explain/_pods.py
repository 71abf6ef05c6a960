# SPDX-License-Identifier: Apache-2.0
"""What is kept of a pod, and which nodes its own wishes allow. Pure. PRIVATE."""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _safe as safe
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._explain._records import (
    Json,
    Node,
    extended,
    going,
    name_of,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._health import trouble

# The kubelet's reasons for a pod that it was given and has no device for: of the device manager, and of its own count
# of what is free, which has the resource's name behind it.
UNEXPECTED, OUT_OF = "UnexpectedAdmissionError", "OutOf"


class Pod(t.NamedTuple):
    namespace: str
    name: str
    node: str
    labels: t.Dict[str, str]
    phase: str
    reason: str
    message: str
    ready: bool
    going: bool
    trouble: str  # why a container is not running, in the runtime's words
    wants: t.Dict[str, int]  # extended resources
    owner: str  # Kind/name of the controller; empty when nobody makes a new one
    node_selector: t.Dict[str, str] = {}
    affinity: t.List[Json] = []
    tolerations: t.List[Json] = []
    gates: t.List[str] = []
    unscheduled: str = ""  # the scheduler's words

    @property
    def title(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def rejected(self) -> bool:
        """Whether the kubelet refused it for want of a device. It stays Failed until somebody deletes it."""
        reasons = {UNEXPECTED, *(f"{OUT_OF}{resource}" for resource in self.wants)}
        return self.phase == "Failed" and self.reason in reasons

    @property
    def holds(self) -> bool:
        """Whether its devices are taken: from the scheduler's choice to the pod's end."""
        return bool(self.node) and self.phase not in ("Succeeded", "Failed")


def pod(item: Json) -> Pod:
    status, spec = safe.mapping(item, "status"), safe.mapping(item, "spec")
    conditions = {safe.text(one, "type"): one for one in safe.mappings(status, "conditions")}
    scheduled = conditions.get("PodScheduled", {})
    controller = next((o for o in safe.mappings(item, "metadata", "ownerReferences") if o.get("controller")), {})
    required = safe.mapping(spec, "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
    return Pod(
        namespace=safe.text(item, "metadata", "namespace"),
        name=name_of(item),
        node=safe.text(spec, "nodeName"),
        labels=safe.texts(item, "metadata", "labels"),
        phase=safe.text(status, "phase"),
        reason=safe.text(status, "reason"),
        message=safe.text(status, "message"),
        ready=safe.text(conditions.get("Ready", {}), "status") == "True" and not going(item),
        going=going(item),
        trouble=trouble(status),
        wants=_wants(spec),
        owner=f"{safe.text(controller, 'kind')}/{safe.text(controller, 'name')}" if controller else "",
        node_selector=safe.texts(spec, "nodeSelector"),
        affinity=safe.mappings(required, "nodeSelectorTerms"),
        tolerations=safe.mappings(spec, "tolerations"),
        gates=[safe.text(gate, "name") for gate in safe.mappings(spec, "schedulingGates")],
        unscheduled=safe.text(scheduled, "message") if safe.text(scheduled, "status") == "False" else "",
    )


def _wants(spec: Json) -> t.Dict[str, int]:
    """As the scheduler counts: the containers together, or the greatest of those that run before them."""
    together: t.Dict[str, int] = {}
    for container in safe.mappings(spec, "containers"):
        for name, number in _asked(container).items():
            together[name] = together.get(name, 0) + number
    for container in safe.mappings(spec, "initContainers"):
        for name, number in _asked(container).items():
            together[name] = max(together.get(name, 0), number)
    return {name: number for name, number in together.items() if number > 0}


def _asked(container: Json) -> t.Dict[str, int]:
    """Of extended resources request and limit are the same; either may be left out."""
    resources = safe.mapping(container, "resources")
    return {**extended(resources.get("requests")), **extended(resources.get("limits"))}


def unmatched(labels: t.Mapping[str, str], wanted: t.Mapping[str, str]) -> t.List[str]:
    """What of a selector a node's labels lack, as key=value."""
    return [f"{key}={value}" for key, value in wanted.items() if labels.get(key) != value]


def affinity_allows(node: Node, terms: t.Sequence[Json]) -> bool:
    """Terms are alternatives, their expressions hold together; a term without any allows nothing."""
    return not terms or any(_term(node, term) for term in terms)


def _term(node: Node, term: Json) -> bool:
    labels = [(one, node.labels) for one in safe.mappings(term, "matchExpressions")]
    fields = [(one, {"metadata.name": node.name}) for one in safe.mappings(term, "matchFields")]
    return bool(labels or fields) and all(_holds(one, where) for one, where in [*labels, *fields])


def _holds(one: Json, labels: t.Mapping[str, str]) -> bool:
    value, values = labels.get(safe.text(one, "key")), safe.words(one, "values")
    operator = one.get("operator")
    if operator in ("Gt", "Lt"):
        seen, bound = safe.whole(value), safe.whole(values[0] if values else None)
        return seen is not None and bound is not None and (seen > bound if operator == "Gt" else seen < bound)
    return {
        "In": value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }.get(str(operator), False)
