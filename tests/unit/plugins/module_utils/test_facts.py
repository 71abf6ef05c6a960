# SPDX-License-Identifier: Apache-2.0
"""accelerator_facts from what an API server says, and what the play may not do there."""

from __future__ import annotations

from typing import Any

import definitions
import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _facts, _facts_permissions
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._facts_permissions import Need
from fake_api import thing

PLAYBOOK = "accelerator-playbook"
CONTROL_PLANE = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}


def node(name: str, kernel: str = "6.1", os: str = "linux", **rest: Any) -> Any:
    info = {"kernelVersion": kernel, "architecture": "amd64", "osImage": "OS", "operatingSystem": os, "bootID": "b"}
    status = {"nodeInfo": info, "conditions": [{"type": "Ready", "status": "True"}], "capacity": {"cpu": "1"}}
    return thing(name, status=status, spec=rest.pop("spec", {}), metadata={"labels": rest.pop("labels", {})})


@pytest.mark.parametrize(
    ("one", "labels", "chosen"),
    [
        (node("n"), {}, True),
        (node("n", os="windows"), {}, False),
        (node("n", spec={"taints": [CONTROL_PLANE]}), {}, False),
        (node("n", spec={"taints": [{**CONTROL_PLANE, "effect": "PreferNoSchedule"}]}), {}, True),
        (node("n", spec={"unschedulable": True}), {}, False),
        # It comes back by itself, and its kernel wants a driver then.
        (node("n", spec={"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]}), {}, True),
        (node("n", labels={"a": "b"}), {"a": "b"}, True),
        (node("n", labels={"a": "c"}), {"a": "b"}, False),
        (node("n", labels={"a": "b"}, spec={"taints": [CONTROL_PLANE]}), {"a": "b"}, True),  # named by the user
    ],
)
def test_candidates(one: Any, labels: dict[str, str], chosen: bool) -> None:
    assert [found["name"] for found in _facts.candidates([one], labels)] == (["n"] if chosen else [])


def test_a_tolerated_taint_is_none() -> None:
    tainted, cordoned = node("n", spec={"taints": [CONTROL_PLANE]}), node("n", spec={"unschedulable": True})
    tolerated = [{"key": CONTROL_PLANE["key"], "operator": "Exists"}]
    assert [one["schedulable"] for one in _facts.candidates([tainted], {}, tolerated)] == [True]
    assert _facts.candidates([cordoned], {}, tolerated) == []


def test_a_node_in_the_facts() -> None:
    assert _facts.candidates([node("n", labels={"a": "b"})], {}) == [
        {
            "name": "n",
            "kernel": "6.1",
            "arch": "amd64",
            "os_image": "OS",
            "ready": True,
            "schedulable": True,
            "boot_id": "b",
            "labels": {"a": "b"},
            "capacity": {"cpu": "1"},
            "allocatable": {},
        }
    ]


def test_one_entry_a_kernel() -> None:
    nodes = _facts.candidates([node("b"), node("a"), node("c", "6.12")], {})
    assert [(k["version"], k["nodes"]) for k in _facts.kernels(nodes)] == [("6.1", ["a", "b"]), ("6.12", ["c"])]


@pytest.mark.parametrize(
    ("apis", "api"),
    [
        ({}, None),
        ({"nfd.k8s-sigs.io/v1alpha1": ["NodeFeatureRule"]}, "nfd.k8s-sigs.io/v1alpha1"),
        (
            {"nfd.openshift.io/v1": ["NodeFeatureDiscovery"], "nfd.k8s-sigs.io/v1alpha1": ["NodeFeatureRule"]},
            "nfd.openshift.io/v1",
        ),
        ({"nfd.openshift.io/v1": []}, None),
    ],
)
def test_which_nfd(apis: dict[str, list[str]], api: str | None) -> None:
    assert _facts.nfd(apis, []) == {"api": api, "instances": [], "namespace": None}


def test_nfd_instances_and_subscriptions() -> None:
    apis = {"nfd.openshift.io/v1": ["NodeFeatureDiscovery"]}
    found = _facts.nfd(apis, [thing("nfd", "openshift-nfd")])
    assert (found["instances"], found["namespace"]) == (["openshift-nfd/nfd"], "openshift-nfd")
    ours = thing("nfd", "x", spec={"name": "nfd"}, metadata={"labels": {_facts.MANAGED_BY: "accelerator-playbook"}})
    assert _facts.subscription(ours) == {
        "name": "nfd",
        "namespace": "x",
        "package": "nfd",
        "managed_by": "accelerator-playbook",
    }
    assert _facts.namespaces([thing("a"), ours]) == {"a": None, "nfd": "accelerator-playbook"}


@pytest.mark.parametrize(
    ("item", "targets"),
    [
        (thing("g", "n", spec={"targetNamespaces": ["b", "a"]}), ["a", "b"]),
        (thing("g", "n"), []),
        (thing("g", "n", spec={"selector": {"matchLabels": {}}}, status={"namespaces": ["a"]}), ["a"]),
        (thing("g", "n", spec={"upgradeStrategy": "Default"}, status={"namespaces": [""]}), []),
    ],
)
def test_what_an_operator_group_watches(item: Any, targets: list[str]) -> None:
    group = {"name": "g", "namespace": "n", "targets": targets, "managed_by": None}
    assert _facts.operator_group(item) == group


@pytest.mark.parametrize(
    ("phases", "phase"),
    [
        ([], None),
        ([None], "Pending"),
        (["Failed"], "Failed"),
        (["Replacing", "Installing"], "Installing"),
        (["Replacing", "Succeeded"], "Succeeded"),
    ],
)
def test_how_far_olm_is_with_an_operator(phases: list[str | None], phase: str | None) -> None:
    assert _facts.phase([thing("csv", "n", **({"status": {"phase": one}} if one else {})) for one in phases]) == phase


def test_what_is_written_on_the_accelerators_namespace() -> None:
    items = [thing("a"), thing("b", metadata={"labels": {"x": "y"}})]
    assert _facts.namespace(items, "b") == {"labels": {"x": "y"}, "annotations": {}}
    assert _facts.namespace(items, "c") is None


def test_no_candidate_says_what_was_looked_for() -> None:
    message = _facts.no_candidates("https://c", {"a": "b"}, [node("n1")])
    assert message == (
        "no node of https://c is a candidate: expected at least a Linux node with labels a=b (accelerator.nodes); "
        "seen 1 nodes, none of them such: n1; next: kubectl get nodes -l 'a=b'"
    )
    assert "seen no node at all" in _facts.no_candidates("https://c", {}, [])


def needs(apis: dict[str, list[str]] | None = None, found: dict[str, Any] | None = None, **over: Any) -> set[str]:
    cluster = {**definitions.facts(apis=apis or {}), **(found or {})}
    return {str(need) for need in _facts_permissions.needs(definitions.example(**over), cluster)}


def test_needs_depend_on_who_manages() -> None:
    module = "create modules.kmm.sigs.x-k8s.io (namespace ptemplate)"
    crd = "patch customresourcedefinitions.apiextensions.k8s.io (cluster-wide)"
    by_operator, by_playbook = needs(managed_by="operator"), needs(managed_by="playbook")
    assert "create ptemplates.pt.example.com (namespace ptemplate)" in by_operator - by_playbook
    assert crd in by_operator - by_playbook
    assert module in by_playbook - by_operator
    assert "patch nodes (cluster-wide)" in by_playbook - by_operator
    assert "create nodes (cluster-wide)" not in by_playbook | by_operator


def test_needs_hold_what_is_deleted_because_it_is_no_longer_wanted() -> None:
    prune = "delete daemonsets.apps (namespace ptemplate)"
    assert prune in needs(managed_by="operator") & needs(managed_by="playbook", consumer=None)
    assert "list modules.kmm.sigs.x-k8s.io (namespace ptemplate)" in needs(managed_by="operator")
    served = {"pt.example.com/v1alpha1": ["Ptemplate"]}
    operator = "delete customresourcedefinitions.apiextensions.k8s.io (cluster-wide)"
    assert operator in needs(served, managed_by="playbook")
    assert operator not in needs(managed_by="playbook") | needs(served, managed_by="operator")


def test_needs_depend_on_what_is_installed() -> None:
    subscribe = "create subscriptions.operators.coreos.com (namespace openshift-kmm)"
    assert subscribe in needs()
    assert subscribe not in needs(found={"kmm": {"api": "kmm.sigs.x-k8s.io/v1beta1"}})
    assert subscribe not in needs(kmm={"install": False})
    plans = "watch installplans.operators.coreos.com (namespace openshift-kmm)"
    assert plans in needs()
    assert plans not in needs(kmm={"install": False})
    definitions_of_ours = "list customresourcedefinitions.apiextensions.k8s.io (cluster-wide)"
    assert definitions_of_ours not in needs(managed_by="playbook")
    assert definitions_of_ours in needs(managed_by="playbook", found={"namespaces": {"openshift-kmm": PLAYBOOK}})
    monitor = "create servicemonitors.monitoring.coreos.com (namespace ptemplate)"
    assert monitor not in needs()
    assert monitor in needs({"monitoring.coreos.com/v1": ["ServiceMonitor", "PrometheusRule"]})
    upstream = {"nfd": {"api": "nfd.k8s-sigs.io/v1alpha1", "instances": [], "namespace": None}}
    assert "create nodefeaturerules.nfd.k8s-sigs.io (cluster-wide)" in needs(found=upstream)
    version = "get clusterversions.config.openshift.io (cluster-wide)"
    assert version not in needs()
    assert version in needs({"config.openshift.io/v1": ["ClusterVersion"]})


def test_who_writes_a_role_needs_what_it_grants() -> None:
    """The API server refuses it otherwise, when images are built and NFD and KMM are installed."""
    found = _facts_permissions.grants(definitions.example(), definitions.facts(platform="openshift"))
    assert [str(escalate) for escalate, _needs in found] == [
        "escalate roles.rbac.authorization.k8s.io (namespace ptemplate)",
        "escalate clusterroles.rbac.authorization.k8s.io (cluster-wide)",
    ]
    in_namespace, in_cluster = ({str(need) for need in granted} for _escalate, granted in found)
    assert "patch ptemplates/status.pt.example.com (namespace ptemplate)" in in_namespace
    assert "delete modules.kmm.sigs.x-k8s.io (namespace ptemplate)" in in_namespace
    assert in_cluster == {
        *(f"{verb} nodes (cluster-wide)" for verb in ("list", "watch", "patch")),
        "get pods (cluster-wide)",
        "create events.events.k8s.io (cluster-wide)",
    }
    assert _facts_permissions.grants(definitions.example(managed_by="playbook"), definitions.facts()) == []


@pytest.mark.parametrize(
    ("strategy", "platform", "needed", "not_needed"),
    [
        ("podman", "kubernetes", ["get secrets (namespace ptemplate)"], ["create configmaps (namespace ptemplate)"]),
        ("podman", "openshift", ["get imagestreams.image.openshift.io (namespace openshift)"], []),
        ("kmm", "openshift", ["create configmaps (namespace ptemplate)"], ["get secrets (namespace ptemplate)"]),
        (
            "buildconfig",
            "openshift",
            [
                "create buildconfigs.build.openshift.io (namespace ptemplate)",
                "delete buildconfigs.build.openshift.io (namespace ptemplate)",
                "watch builds.build.openshift.io (namespace ptemplate)",
            ],
            [],
        ),
    ],
)
def test_needs_depend_on_who_builds(strategy: str, platform: str, needed: list[str], not_needed: list[str]) -> None:
    git = {"url": "https://git.example/w.git", "ref": "v1"}
    driver = {"source": None, "git": git, "build": {"strategy": strategy}, "signing": {"secret": "keys"}}
    found = needs(found={"platform": platform}, driver=driver, managed_by="playbook", consumer=None)
    assert [text for text in needed if text not in found] == []
    assert [text for text in not_needed if text in found] == []


def test_the_resource_of_a_kind() -> None:
    """The needs come from the manifests; this is the one guess in them."""
    kinds = {"NodeFeatureDiscovery": "nodefeaturediscoveries", "Module": "modules", "ConfigMap": "configmaps"}
    assert {kind: _facts_permissions.plural(kind) for kind in kinds} == kinds


NEEDS = [
    Need("get", "", "pods/proxy", "pt"),
    Need("patch", "apps", "daemonsets", "pt"),
    Need("list", "", "nodes"),
    Need("create", "operators.coreos.com", "subscriptions", "olm"),
]


def rule(verbs: str, group: str, resource: str, **rest: Any) -> Any:
    return {"verbs": [verbs], "apiGroups": [group], "resources": [resource], **rest}


@pytest.mark.parametrize(
    ("rules", "incomplete", "denied", "unknown"),
    [
        ([], False, [0, 1, 2], [3]),  # another namespace's grants are not in these rules
        ([], True, [], [0, 1, 2, 3]),
        ([rule("*", "*", "*")], False, [], [2, 3]),  # maybe by a RoleBinding, which grants nothing cluster-wide
        ([rule("get", "", "pods/proxy"), rule("patch", "apps", "*")], False, [2], [3]),
        ([rule("get", "", "*/proxy")], False, [1, 2], [3]),
        ([rule("get", "", "pods"), rule("patch", "apps", "daemonsets", resourceNames=["x"])], False, [0, 1, 2], [3]),
    ],
)
def test_what_the_rules_settle(rules: list[Any], incomplete: bool, denied: list[int], unknown: list[int]) -> None:
    found = _facts_permissions.settle(NEEDS, "pt", {"resourceRules": rules, "incomplete": incomplete})
    assert found == ([NEEDS[n] for n in denied], [NEEDS[n] for n in unknown])


def test_a_review_of_a_subresource() -> None:
    attributes = {"verb": "get", "group": "", "resource": "pods", "subresource": "proxy", "namespace": "pt"}
    assert _facts_permissions.access_review(NEEDS[0])["spec"] == {"resourceAttributes": attributes}
    assert "namespace" not in _facts_permissions.access_review(NEEDS[2])["spec"]["resourceAttributes"]


def test_all_that_is_denied_is_said_at_once() -> None:
    denied = [NEEDS[0], Need("list", "", "nodes"), Need("watch", "", "nodes")]
    message = _facts_permissions.denied_message("https://c", denied)
    assert "denies 3 of the permissions" in message
    assert "get pods/proxy (namespace pt); list,watch nodes (cluster-wide); nothing was changed" in message
    assert "kubectl auth can-i get pods --subresource=proxy -n pt," in message
