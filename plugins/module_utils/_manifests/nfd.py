# SPDX-License-Identifier: Apache-2.0
"""Node Feature Discovery: which nodes have the hardware. Pure. PRIVATE to this collection."""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names as names
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests import olm
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests._objects import Json, Scope

INSTANCE = "accelerator"
UPSTREAM = "nfd.k8s-sigs.io/v1alpha1"


def nfd_install(scope: Scope) -> t.List[Json]:
    return [] if scope.definition["hardware"].get("node_label") else olm.install(scope, olm.NFD)


def nfd(scope: Scope) -> t.List[Json]:
    """One rule, and something that acts on it; nothing when the user labels nodes."""
    if scope.definition["hardware"].get("node_label"):
        return []
    if scope.facts["nfd"]["api"] == UPSTREAM:
        return [_rule(scope, UPSTREAM, None)]
    namespace = names.nfd_namespace(scope.definition, scope.facts)
    return [*_discovery(scope, namespace), _rule(scope, "nfd.openshift.io/v1alpha1", namespace)]


def _discovery(scope: Scope, namespace: str) -> t.List[Json]:
    """One a cluster. It says nothing of our hardware: rules see all features, labels for them are not needed.

    All accelerators share it, so each that writes it is on record; the record of an install says it already.
    """
    if set(scope.facts["nfd"]["instances"]) - {f"{namespace}/{INSTANCE}"}:
        return []
    labels = {names.LABEL_NAME: INSTANCE, names.LABEL_COMPONENT: "nfd", names.LABEL_MANAGED_BY: scope.manager}
    records = [] if olm.install(scope, olm.NFD) else [olm.record(scope, olm.NFD, namespace)]
    return [
        *records,
        {
            "apiVersion": "nfd.openshift.io/v1",
            "kind": "NodeFeatureDiscovery",
            "metadata": {"name": INSTANCE, "namespace": namespace, "labels": labels},
            "spec": {"prunerOnDelete": True, "workerConfig": {"configData": "core:\n  sleepInterval: 60s\n"}},
        },
    ]


def _rule(scope: Scope, api: str, namespace: t.Optional[str]) -> Json:
    rule = {
        "name": f"{scope.definition['name']} hardware",
        "labels": names.hardware_labels(scope.definition),
        "matchFeatures": [_match(scope.definition["hardware"])],
    }
    made = scope.make(api, "NodeFeatureRule", scope.definition["name"], "nfd", spec={"rules": [rule]})
    if namespace:
        made["metadata"]["namespace"] = namespace
    else:
        del made["metadata"]["namespace"]
    return made


def _match(hardware: Json) -> Json:
    pci = hardware.get("pci")
    if pci:
        given = {key: pci[key] for key in ("vendor", "device", "class") if pci.get(key)}
        expressions = {key: {"op": "In", "value": [value]} for key, value in given.items()}
        return {"feature": "pci.device", "matchExpressions": expressions}
    if hardware.get("loaded_module"):
        # The kernel lists modules with `_`, whatever their file is called.
        module = hardware["loaded_module"].replace("-", "_")
        return {"feature": "kernel.loadedmodule", "matchExpressions": {module: {"op": "Exists"}}}
    return {"feature": "cpu.cpuid", "matchExpressions": {hardware["cpu_feature"]: {"op": "Exists"}}}
