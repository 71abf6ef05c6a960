# SPDX-License-Identifier: Apache-2.0
"""What a teardown asks to be allowed is enough for it, and is asked before the first change."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from plays import Roles, collector
from scene import KINDS, KMM_SPEC, MANAGED_BY, PLAYBOOK, Scene, definition
from stand_ins.kmm import MODULES
from stand_ins.kube import NAMESPACES, NODES, Kube, Object, Resource

pytestmark = pytest.mark.slow  # whole roles are played

RBAC = "rbac.authorization.k8s.io"
CLUSTER_ROLES = Resource(f"{RBAC}/v1", "clusterroles", "ClusterRole")
ROLES = Resource(f"{RBAC}/v1", "roles", "Role")
ROLE_BINDINGS = Resource(f"{RBAC}/v1", "rolebindings", "RoleBinding")
CLUSTER_ROLE_BINDINGS = Resource(f"{RBAC}/v1", "clusterrolebindings", "ClusterRoleBinding")
NEED = re.compile(r"([\w,]+) ([\w/]+)(?:\.([\w.-]+))? \((?:cluster-wide|namespace ([\w-]+))\)")
STAGES = ("monitoring", "operator", "device_plugin", "kmm", "nfd", "driver_build")
USER = "eve"


@pytest.fixture
def kube(operators: tuple[Kube, Path]) -> Kube:
    return operators[0]


@pytest.fixture
def ours(kube: Kube, scene: Scene) -> Iterator[Object]:
    """An accelerator in a namespace of its own, and KMM, as a playbook left them."""
    filled = definition("narrow", namespace="narrow", consumer={"command": ["run"]})
    scene.add(NAMESPACES, "narrow", labels={MANAGED_BY: PLAYBOOK})
    scene.add(NAMESPACES, "openshift-nfd")  # NFD is somebody else's
    nothing = {"olm": {"subscriptions": []}, "kmm": {"api": None}}
    seen = {**nothing, "nfd": {"api": "nfd.openshift.io/v1alpha1", "instances": [], "namespace": None}}
    scene.render(filled, "kmm_install", "kmm", "device_plugin", "consumer", "nfd", **seen)
    scene.add(MODULES, "mine", "default", spec=KMM_SPEC)  # somebody else's, for whom our KMM stays
    scene.add(NODES, "narrow-1")
    with collector(kube, *(resource for resource in KINDS.values() if resource != NAMESPACES)):
        yield filled


def grant(scene: Scene, said: str, number: int) -> None:
    """Roles with exactly what a message asks for."""
    rules: dict[str, list[Object]] = {}
    for verbs, resource, group, namespace in NEED.findall(said):
        rule = {"verbs": verbs.split(","), "apiGroups": [group], "resources": [resource]}
        rules.setdefault(namespace, []).append(rule)
    assert rules, said
    for namespace, found in rules.items():
        kind, binding = (ROLES, ROLE_BINDINGS) if namespace else (CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS)
        name = f"asked-{number}"
        scene.add(kind, name, namespace, rules=found)
        subject = {"apiGroup": RBAC, "kind": "User", "name": USER}
        reference = {"apiGroup": RBAC, "kind": kind.kind, "name": name}
        scene.add(binding, name, namespace, roleRef=reference, subjects=[subject])


def test_what_a_teardown_asks_for_is_enough(roles: Roles, kube: Kube, scene: Scene, ours: Object) -> None:
    """Who may not read the namespaces is asked again: only then it is known which operators are ours to remove."""
    as_eve = replace(roles, user=USER, purpose="removal")
    said = as_eve.complaint(ours)
    assert "nothing was changed; next: kubectl auth can-i" in said
    assert re.search(r"[\w,]*delete[\w,]* modules\.kmm\.sigs\.x-k8s\.io \(namespace narrow\)", said), said
    grant(scene, said, 1)
    grant(scene, as_eve.complaint(ours), 2)
    done = as_eve.play(ours, *(f"{stage}/teardown" for stage in STAGES), permissions=True)
    assert {"Module", "DaemonSet", "Deployment", "ServiceAccount", "NodeFeatureRule"} <= set(done.deleted())
    kinds = [KINDS[kind] for kind in ("Module", "DaemonSet", "Deployment")]
    assert not [item for kind in kinds for item in kube.list(kind) if item["metadata"]["namespace"] == "narrow"]
