# SPDX-License-Identifier: Apache-2.0
"""What roles take away, and what they leave because somebody else needs it, on a real API server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _manifests
from plays import Roles, collector
from scene import (
    DEPLOYMENTS,
    IMAGES,
    KINDS,
    KMM_SPEC,
    MANAGED_BY,
    PART_OF,
    PLAYBOOK,
    PROMETHEUS_RULES,
    Scene,
    definition,
)
from stand_ins.controller import served
from stand_ins.kmm import MODULES
from stand_ins.kube import CONFIG_MAPS, CRDS, NAMESPACES, Kube, Object
from stand_ins.nfd import DISCOVERIES
from stand_ins.olm import CSVS, GROUPS

pytestmark = pytest.mark.slow  # whole roles are played


@pytest.fixture
def kube(operators: tuple[Kube, Path]) -> Kube:
    return operators[0]


NOTHING = {"olm": {"subscriptions": []}, "kmm": {"api": None}, "nfd": {"api": None, "instances": [], "namespace": None}}
BY_ADMIN = {**NOTHING, "nfd": {"api": "nfd.openshift.io/v1", "instances": [], "namespace": None}}


@pytest.mark.parametrize("user", ["nobody", "record", "module"])
def test_kmm_stays_while_anybody_uses_it(roles: Roles, scene: Scene, user: str) -> None:
    """Another accelerator that would not have installed it leaves a record; somebody's own Module is seen, too."""
    first, second = definition("first"), definition("second", kmm={"install": False})
    scene.render(first, "kmm_install", **NOTHING)
    csv_label = {"operators.coreos.com/kernel-module-management.openshift-kmm": ""}
    owned = [{"kind": "Module", "name": "modules.kmm.sigs.x-k8s.io", "version": "v1beta1"}]
    spec = {"displayName": "KMM", "install": {"strategy": "x"}, "customresourcedefinitions": {"owned": owned}}
    scene.add(CSVS, "kmm.v1", "openshift-kmm", csv_label, spec=spec)
    scene.add(MODULES, "first", "default", {PART_OF: "first"}, spec=KMM_SPEC)
    if user == "record":
        installed = roles.play(second, "common/install", common_operator="kmm").of("Apply the objects")
        assert installed["result"]["kind"] == "ConfigMap", "it is on record, and changes nothing else"
        scene.made.append((CONFIG_MAPS, installed["result"]))
    if user == "module":
        scene.add(MODULES, "mine", "default", spec=KMM_SPEC)
    result = roles.play(first, "kmm/teardown", check=True)
    everything = {"Namespace", "OperatorGroup", "Subscription", "ClusterServiceVersion", "CustomResourceDefinition"}
    said = str(result.of("Say who still uses the operator").get("msg", ""))
    if user == "nobody":
        assert everything <= set(result.deleted())
        assert said == ""
    else:
        assert result.deleted() == ["ConfigMap"]
        name = "ConfigMap openshift-kmm/accelerator-user-second" if user == "record" else "Module default/mine"
        assert said == f"KMM stays as it is; it is used by {name}"


@pytest.mark.parametrize("user", ["nobody", "record"])
def test_the_shared_instance_of_nfd_stays_while_anybody_uses_it(
    roles: Roles, kube: Kube, scene: Scene, user: str
) -> None:
    """NFD's operator is an administrator's, the instance is ours, and every accelerator that wrote it is on record."""
    first, second = definition("first"), definition("second")
    scene.add(NAMESPACES, "openshift-nfd")
    scene.render(first, "nfd", **BY_ADMIN)
    if user == "record":
        scene.render(second, "nfd", **BY_ADMIN)
    result = roles.play(first, "nfd/teardown", check=True)
    kinds = ["NodeFeatureRule", "NodeFeatureDiscovery", "ConfigMap"]
    assert result.deleted() == (kinds if user == "nobody" else ["NodeFeatureRule", "ConfigMap"])
    assert kube.get(DISCOVERIES, "accelerator", "openshift-nfd"), "check mode deletes nothing"


ENFORCE = "pod-security.kubernetes.io/enforce"
NAMESPACE = "{{ accelerator_definition | ecosystem_edge.accelerator.manifests('namespace', accelerator_facts) }}"


def test_a_namespace_that_was_there_gets_its_labels_back(roles: Roles, kube: Kube, scene: Scene) -> None:
    """The last accelerator in it takes ours off; the second run and the second teardown change nothing."""
    before = {"kubernetes.io/metadata.name": "team", ENFORCE: "baseline", "team": "a"}
    namespace = NAMESPACES.new("team")
    namespace["metadata"]["labels"] = {ENFORCE: "baseline", "team": "a"}
    kube.create(NAMESPACES, namespace)
    ours = definition("first", namespace="team")
    for changed in (1, 0):
        assert roles.play(ours, "common/apply", common_objects=NAMESPACE).changed == changed
    labelled = (kube.get(NAMESPACES, "team") or {})["metadata"]
    assert labelled["labels"] == {**before, ENFORCE: "privileged"}

    labels = {PART_OF: "second", MANAGED_BY: PLAYBOOK}
    scene.add(MODULES, "second", "team", labels, spec=KMM_SPEC)
    shared = roles.play(ours, "common/teardown")
    assert (shared.changed, shared.deleted()) == (0, [])
    assert shared.of("Say for whom the namespace stays")["msg"] == "namespace team stays; in it are Module team/second"
    scene.clear()
    for changed in (1, 0):
        assert roles.play(ours, "common/teardown").changed == changed
    given_back = (kube.get(NAMESPACES, "team") or {})["metadata"]
    assert given_back["labels"] == before
    assert "annotations" not in given_back


def test_our_namespace_stays_while_another_accelerator_is_in_it(roles: Roles, scene: Scene) -> None:
    first, second = definition("first", namespace="npus"), definition("second", namespace="npus")
    roles.play(first, "common/apply", common_objects=NAMESPACE)
    assert roles.play(second, "common/apply", common_objects=NAMESPACE).changed == 0
    scene.add(CONFIG_MAPS, "second-operator", "npus", {PART_OF: "second", MANAGED_BY: PLAYBOOK})
    assert roles.play(first, "common/teardown", check=True).deleted() == []
    scene.clear()
    assert roles.play(second, "common/teardown", check=True).deleted() == ["Namespace"]


STAGES = ("kmm", "device_plugin", "consumer")
PRUNE = {
    "common_stages": list(STAGES[1:]),
    "common_wanted": "{{ accelerator_definition"
    " | ecosystem_edge.accelerator.manifests(common_stages, accelerator_facts, accelerator_definition.images) }}",
}


@pytest.fixture
def written(kube: Kube, scene: Scene) -> Iterator[Object]:
    """All that a playbook writes for an accelerator in its namespace, beside what another has there."""
    ours = definition("first", namespace="pruned", consumer={"command": ["run"]})
    scene.add(NAMESPACES, "pruned")
    apis = {"monitoring.coreos.com/v1": ["PrometheusRule"]}
    for filled in (ours, definition("second", namespace="pruned", consumer={"command": ["run"]})):
        scene.render(filled, *STAGES, "monitoring", apis=apis)
    with collector(kube, *(r for r in KINDS.values() if r != NAMESPACES)):
        yield ours


def test_what_a_definition_no_longer_wants_is_deleted(roles: Roles, kube: Kube, written: Object) -> None:
    """And listed in check mode; a second run finds nothing, and nothing of another's is touched."""
    narrow = definition("first", namespace="pruned", device_plugin={"deploy": "kmm"})
    check = roles.play(narrow, "common/prune", check=True, **PRUNE)
    assert check.of("List what would be deleted")["msg"] == [
        "would be deleted: DaemonSet pruned/first-device-plugin",
        "would be deleted: Service pruned/first-device-plugin",
        "would be deleted: Deployment pruned/first-consumer",
    ]
    twice = roles.play(narrow, "common/prune", "common/prune", **PRUNE)
    assert (twice.deleted(), twice.changed) == (["Deployment", "Service", "DaemonSet"], 1)
    assert {d["metadata"]["name"] for d in kube.list(DEPLOYMENTS)} == {"second-consumer"}


def test_monitors_go_with_monitoring_enabled_and_with_a_teardown(roles: Roles, kube: Kube, written: Object) -> None:
    off = {**written, "monitoring": {**written["monitoring"], "enabled": False}}
    torn = roles.play(off, "monitoring/teardown", check=True)
    assert torn.deleted() == ["ConfigMap", "PrometheusRule", "ServiceMonitor"]
    twice = roles.play(off, "monitoring/main", "monitoring/main")
    assert (twice.deleted(), twice.changed) == (torn.deleted(), 1)
    assert {r["metadata"]["name"] for r in kube.list(PROMETHEUS_RULES)} == {"second"}


def test_what_a_playbook_kept_goes_before_the_operator_keeps_it(roles: Roles, written: Object) -> None:
    """The users first, the driver after them."""
    by_operator = {**written, "managed_by": "operator"}
    kinds = ["Deployment", "Service", "DaemonSet", "ServiceAccount", "Module", "ServiceAccount"]
    twice = roles.play(by_operator, "kmm/main", "kmm/main")
    assert (twice.deleted(), twice.changed) == (kinds, 1)


def test_the_operator_goes_before_a_playbook_keeps_what_it_kept(roles: Roles, kube: Kube, scene: Scene) -> None:
    by_playbook = definition("first", namespace="operated")
    by_operator = {**by_playbook, "managed_by": "operator"}
    scene.add(NAMESPACES, "operated")
    made = _manifests.render("operator", by_operator, {"platform": "kubernetes"}, IMAGES)
    for obj in made:
        if obj["kind"] in ("CustomResourceDefinition", "Deployment"):
            scene.put({**KINDS, "CustomResourceDefinition": CRDS}[obj["kind"]], obj)
    served(kube, made[:1])
    result = roles.play(by_playbook, "kmm/main", check=True)
    assert result.of("Delete the custom resource")
    assert result.deleted() == ["Deployment", "CustomResourceDefinition"]


def test_another_operator_group_is_told_before_the_first_change(roles: Roles, kube: Kube, scene: Scene) -> None:
    """In a namespace with two of them OLM fails every operator; one that fits is used, and stays with a teardown."""
    ours = definition("first", kmm={"namespace": "groups"})
    scene.add(NAMESPACES, "groups")
    scene.render(ours, "kmm_install", **NOTHING)
    kube.delete(GROUPS, "kernel-module-management", "groups")
    scene.add(GROUPS, "theirs", "groups", spec={"targetNamespaces": ["groups"]})
    said = roles.complaint(ours, "kmm/main")
    assert "expected only kernel-module-management for all namespaces" in said
    assert "seen theirs for groups; nothing was changed" in said
    kube.delete(GROUPS, "theirs", "groups")
    scene.add(GROUPS, "theirs", "groups")
    fits = roles.play(ours, "kmm/teardown", check=True)
    assert "Subscription" in fits.deleted()
    assert "OperatorGroup" not in fits.deleted()
