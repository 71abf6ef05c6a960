# SPDX-License-Identifier: Apache-2.0
"""What a teardown needs to be allowed."""

from __future__ import annotations

from typing import Any

import definitions
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._facts_removal import removal_needs

CORE = {
    "v1": ["ConfigMap", "Namespace", "Node", "ServiceAccount"],
    "apps/v1": ["DaemonSet", "Deployment"],
    "rbac.authorization.k8s.io/v1": ["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"],
    "apiextensions.k8s.io/v1": ["CustomResourceDefinition"],
}
KMM = {"kmm.sigs.x-k8s.io/v1beta1": ["Module"]}
OURS = {"ptemplate": "accelerator-playbook"}
OLM = {"operators.coreos.com/v1alpha1": ["ClusterServiceVersion", "Subscription"]}


def needs(*apis: dict[str, list[str]], namespaces: dict[str, str | None] | None = None, **over: Any) -> set[str]:
    served = {name: kinds for more in (CORE, *apis) for name, kinds in more.items()}
    namespaces = OURS if namespaces is None else namespaces
    cluster = definitions.facts(apis=served, namespaces=namespaces, namespace={"labels": {}, "annotations": {}})
    return {str(need) for need in removal_needs(definitions.example(**over), cluster)}


def test_it_holds_what_any_definition_may_have_wanted() -> None:
    found = needs(KMM, consumer=None, managed_by="playbook")
    for resource in ("daemonsets.apps", "deployments.apps", "modules.kmm.sigs.x-k8s.io", "serviceaccounts"):
        assert {f"{verb} {resource} (namespace ptemplate)" for verb in ("get", "delete")} <= found
    assert "delete customresourcedefinitions.apiextensions.k8s.io (cluster-wide)" in found
    assert {f"patch nodes{sub} (cluster-wide)" for sub in ("", "/status")} <= found


def test_nothing_is_created() -> None:
    assert not [need for need in needs(KMM, OLM) if need.startswith("create ")]


def test_what_is_not_served_or_not_there_is_not_asked_for() -> None:
    assert not [need for need in needs() if "kmm" in need or "ptemplates" in need]
    elsewhere = needs(KMM, namespaces={"default": None})
    assert not [need for need in elsewhere if "(namespace ptemplate)" in need]
    unread = needs(KMM, namespaces={})
    assert "delete modules.kmm.sigs.x-k8s.io (namespace ptemplate)" in unread, "who may not read them hears of all"


def test_the_custom_resource_while_its_kind_is_served() -> None:
    wanted = {
        f"{v} ptemplates.pt.example.com (namespace ptemplate)" for v in ("get", "list", "watch", "patch", "delete")
    }
    assert wanted <= needs({"pt.example.com/v1alpha1": ["Ptemplate"]})


def test_a_namespace_that_was_there_before_is_kept() -> None:
    delete, patch = ("delete namespaces (cluster-wide)", "patch namespaces (cluster-wide)")
    assert delete in needs()
    theirs = needs(namespaces={"ptemplate": None})
    assert patch in theirs
    assert delete not in theirs


def test_an_operator_goes_only_where_we_brought_it() -> None:
    csv = "delete clusterserviceversions.operators.coreos.com (namespace openshift-kmm)"
    assert csv not in needs(KMM, OLM)
    assert csv in needs(KMM, OLM, namespaces={**OURS, "openshift-kmm": "accelerator-playbook"})
