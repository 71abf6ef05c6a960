# SPDX-License-Identifier: Apache-2.0
"""Namespaces: ours, and those that were there before us. Pure. PRIVATE to this collection."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names as names
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests._objects import Json, Scope

# On a namespace that was there before: the values of those labels that we set and that it had, for the teardown.
BEFORE = "ecosystem-edge.github.io/labels-before"


def claim(name: str, labels: t.Dict[str, str], **metadata: t.Any) -> Json:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels, **metadata}}


def foreign(scope: Scope, name: str) -> bool:
    """Whether it was there before. One that we make says that it is ours, and a teardown deletes what says so."""
    known = scope.facts.get("namespaces") or {}
    return name in known and known[name] != scope.manager


def namespace(scope: Scope) -> t.List[Json]:
    """KMM's workers are privileged pods in the Module's namespace."""
    needed = {"pod-security.kubernetes.io/enforce": "privileged"}
    if scope.openshift():
        # Else OpenShift overwrites the label above with what the service accounts' constraints allow.
        needed["security.openshift.io/scc.podSecurityLabelSync"] = "false"
    seen = scope.facts.get("namespace") or {"labels": {}, "annotations": {}}
    if foreign(scope, scope.namespace):
        had = {key: seen["labels"][key] for key in needed if seen["labels"].get(key) not in (None, needed[key])}
        before = seen["annotations"].get(BEFORE) or json.dumps(had, sort_keys=True)
        return [claim(scope.namespace, needed, annotations={BEFORE: before})]
    labels = scope.labels(scope.namespace, "driver")
    # Accelerators that share it would else rename it in turns.
    labels.update({key: seen["labels"][key] for key in labels if key in seen["labels"]})
    return [claim(scope.namespace, {**labels, names.LABEL_MANAGED_BY: scope.manager, **needed})]


def going(facts: Json, objects: t.Iterable[Json]) -> t.List[str]:
    """A namespace that is being deleted takes nothing new, and takes with it what is in it."""
    places = {item["metadata"].get("namespace") or item["metadata"]["name"] for item in objects}
    return [
        f"namespace {name} is being deleted: expected it to be there or to be gone; seen it terminating; nothing was "
        f"changed; next: wait until it is gone, kubectl get namespace {name} -o yaml tells what holds it"
        for name in sorted(places.intersection(facts.get("namespaces_going") or ()))
    ]


def released(definition: Json, facts: Json) -> t.List[Json]:
    """A namespace that was there before as it was: what we no longer apply goes. Nothing if nothing in it is ours."""
    seen = facts.get("namespace") or {"annotations": {}}
    before = seen["annotations"].get(BEFORE)
    return [claim(definition["namespace"], json.loads(before))] if before else []
