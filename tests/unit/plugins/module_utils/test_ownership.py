# SPDX-License-Identifier: Apache-2.0
"""Whose an object is: who uses an operator, what a definition no longer wants."""

from __future__ import annotations

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _manifests, _ownership
from definitions import IMAGES, Obj, facts, widget

PART_OF = "app.kubernetes.io/part-of"
NFD_V1, RULES_V1, KMM_V1 = "nfd.openshift.io/v1", "nfd.openshift.io/v1alpha1", "kmm.sigs.x-k8s.io/v1beta1"
BY_ADMIN = {"nfd": {"api": NFD_V1, "instances": [], "namespace": None}}
OURS = {
    "name": "kmm",
    "namespace": "there",
    "package": "kernel-module-management",
    "managed_by": "accelerator-playbook",
}


def found(api: str, kind: str, name: str, namespace: str = "", part_of: str = "") -> Obj:
    labels = {PART_OF: part_of} if part_of else {}
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": namespace, "labels": labels}}


def render(stage: str, definition: Obj, **seen: object) -> list[Obj]:
    return _manifests.render(stage, definition, facts(**seen), IMAGES)


def kinds(objects: list[Obj]) -> list[str]:
    return [item["kind"] for item in objects]


@pytest.mark.parametrize(
    ("item", "uses"),
    [
        (found(KMM_V1, "Module", "widget", "widget", "widget"), False),
        (found(KMM_V1, "Module", "other", "other", "other"), True),
        (found(KMM_V1, "Module", "somebodys", "x"), True),
        (found("v1", "ConfigMap", "accelerator-user-widget", "there", "widget"), False),
        (found("v1", "ConfigMap", "accelerator-user-other", "there", "other"), True),
        (found(NFD_V1, "NodeFeatureDiscovery", "accelerator", "openshift-nfd"), False),
        (found(NFD_V1, "NodeFeatureDiscovery", "nfd-instance", "openshift-nfd"), True),
    ],
    ids=["our Module", "another's", "somebody's", "our record", "another's record", "what all share", "somebody's NFD"],
)
def test_whoever_is_not_this_accelerator_is_a_user(item: Obj, uses: bool) -> None:
    shared = render("nfd", widget(), **BY_ADMIN)[:2]
    assert kinds(shared) == ["ConfigMap", "NodeFeatureDiscovery"]
    assert bool(_ownership.users([item], widget(), shared)) is uses


def test_users_are_looked_for_in_the_whole_cluster_and_only_where_something_is_ours() -> None:
    queries = _ownership.user_queries(render("kmm_install", widget()), "kmm")
    assert [(q["kind"], q["namespace"], q["label_selectors"]) for q in queries] == [
        ("ConfigMap", "openshift-kmm", ["app.kubernetes.io/component=kmm", PART_OF]),
        ("Module", None, []),
    ]
    rules = {"NodeFeatureRule", "NodeFeatureDiscovery", "ConfigMap"}
    assert {q["kind"] for q in _ownership.user_queries(render("nfd", widget()), "nfd")} == rules
    assert _ownership.user_queries([], "kmm") == []


def test_who_would_not_install_is_on_record_where_an_accelerator_did() -> None:
    """It changes nothing of the install, but is the last user perhaps, who takes it away."""
    definition = widget(kmm={"install": False})
    assert render("kmm_install", definition) == []
    seen = {"kmm": {"api": KMM_V1}, "olm": {"subscriptions": [OURS]}}
    (record,) = render("kmm_install", definition, **seen)
    assert (record["metadata"]["namespace"], record["metadata"]["name"]) == ("there", "accelerator-user-widget")
    assert record in render("kmm_install", widget(), **seen)
    last = render("kmm_installed", definition, **seen)
    assert kinds(last) == ["Namespace", "OperatorGroup", "Subscription", "ConfigMap"]
    theirs = {"olm": {"subscriptions": [{**OURS, "managed_by": None}]}}
    assert render("kmm_install", definition, **theirs) == []


@pytest.mark.parametrize(
    ("seen", "records"),
    [
        ({}, 1),
        (BY_ADMIN, 1),
        ({"nfd": {**BY_ADMIN["nfd"], "instances": ["x/accelerator"], "namespace": "x"}}, 1),
        ({"nfd": {**BY_ADMIN["nfd"], "instances": ["x/nfd-instance"], "namespace": "x"}}, 0),
    ],
    ids=["we install", "admin's operator, no instance", "another accelerator's instance", "admin's instance"],
)
def test_who_writes_the_shared_instance_is_on_record_once(seen: Obj, records: int) -> None:
    objects = [item for stage in ("nfd_install", "nfd") for item in render(stage, widget(), **seen)]
    maps = [item for item in objects if item["kind"] == "ConfigMap"]
    assert len(maps) == records
    instances = {i["metadata"]["namespace"] for i in objects if i["kind"] == "NodeFeatureDiscovery"}
    assert {item["metadata"]["namespace"] for item in maps} == instances


def test_the_widest_definition_has_what_an_earlier_one_may_have_wanted() -> None:
    narrow = widget(device_plugin={"deploy": "kmm"}, monitoring={"enabled": False}, managed_by="playbook")
    seen = {"apis": {"monitoring.coreos.com/v1": ["PrometheusRule"]}}
    stages = ("device_plugin", "consumer", "monitoring")
    wide = [item for stage in stages for item in render(stage, _ownership.widest(narrow), **seen)]
    monitors = ["ServiceMonitor", "ServiceMonitor", "PrometheusRule", "ConfigMap"]
    assert kinds(wide) == ["ServiceAccount", "DaemonSet", "Service", "Deployment", *monitors]
    assert kinds([item for stage in stages for item in render(stage, narrow, **seen)]) == ["ServiceAccount"]


def neighbour(manager: str) -> Obj:
    item = found("apps/v1", "Deployment", "other", "widget", "other")
    item["metadata"]["labels"]["app.kubernetes.io/managed-by"] = manager
    return item


def test_neighbours_are_looked_for_among_all_that_accelerators_have() -> None:
    queries = _ownership.neighbour_queries(widget(), facts(namespaces={"widget": None}))
    assert {"Module", "DaemonSet", "Deployment", "ServiceAccount", "Widget"} <= {q["kind"] for q in queries}
    assert len(queries) == len({(q["api_version"], q["kind"]) for q in queries})
    assert {q["namespace"] for q in queries} == {"widget"}
    assert queries[0]["label_selectors"] == [PART_OF, f"{PART_OF}!=widget"]
    assert _ownership.neighbour_queries(widget(), facts()) == []


def test_labels_stay_on_a_namespace_while_another_accelerator_is_in_it() -> None:
    annotations = {"ecosystem-edge.github.io/labels-before": "{}"}
    seen = facts(namespace={"labels": {}, "annotations": annotations})
    assert kinds(_ownership.given_back(widget(), seen, [])) == ["Namespace"]
    assert kinds(_ownership.given_back(widget(), seen, [neighbour("Helm")])) == ["Namespace"]
    assert _ownership.given_back(widget(), seen, [neighbour("accelerator-operator")]) == []


PRUNED = ("kmm", "device_plugin", "consumer")


def briefly(objects: list[Obj]) -> list[Obj]:
    """As object_list returns them."""
    return [{"apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": item["metadata"]} for item in objects]


def test_what_playbooks_wrote_is_found_by_our_labels_whatever_the_definition_says_now() -> None:
    narrow = widget(device_plugin={"deploy": "kmm"})
    queries = _ownership.kept_queries(narrow, facts(), PRUNED)
    assert [q["kind"] for q in queries] == ["ServiceAccount", "Module", "DaemonSet", "Service", "Deployment"]
    assert {q["namespace"] for q in queries} == {"widget"}
    assert queries[0]["label_selectors"] == [
        f"{PART_OF}=widget",
        "app.kubernetes.io/managed-by=accelerator-playbook",
        "app.kubernetes.io/component in (consumer,device-plugin,driver)",
    ]
    assert _ownership.kept_queries(narrow, facts(), ["monitoring"]) == [], "no API, no monitor"


@pytest.mark.parametrize(
    ("over", "surplus"),
    [
        ({}, ["Deployment"]),
        ({"device_plugin": {"deploy": "kmm"}}, ["DaemonSet", "Service", "Deployment"]),
        ({"consumer": {"command": ["run"]}, "images": {"consumer": "registry.example/c:1"}}, []),
    ],
    ids=["no consumer", "the plugin by KMM", "all of it"],
)
def test_what_is_no_longer_wanted_is_surplus(over: Obj, surplus: list[str]) -> None:
    stages = PRUNED[1:]
    before = [item for stage in stages for item in render(stage, _ownership.widest(widget()))]
    definition = widget(**over)
    wanted = [item for stage in stages for item in render(stage, definition)]
    assert kinds(_ownership.surplus(briefly(before), definition, facts(), stages, wanted)) == surplus


def test_what_only_an_earlier_version_made_is_surplus_too() -> None:
    old = found("v1", "Service", "widget-driver", "widget", "widget")
    old["metadata"]["labels"]["app.kubernetes.io/component"] = "driver"
    assert _ownership.surplus([old], widget(), facts(), PRUNED, []) == [old]


def test_the_driver_goes_after_its_users() -> None:
    """A list comes by kind; it is deleted from its end."""
    before = [item for stage in PRUNED for item in render(stage, _ownership.widest(widget()))]
    found = sorted(briefly(before), key=lambda item: item["kind"])
    order = _ownership.surplus(found, widget(), facts(), PRUNED, [])
    assert kinds(order) == ["ServiceAccount", "Module", "ServiceAccount", "DaemonSet", "Service", "Deployment"]
    assert [item["metadata"]["name"] for item in order[:3]] == ["widget-driver", "widget", "widget-device-plugin"]
