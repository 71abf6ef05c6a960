# SPDX-License-Identifier: Apache-2.0
"""Which objects can be sent, would be made, may be deleted."""

from __future__ import annotations

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.filter import objects

FACTS = {
    "apis": {"v1": ["ConfigMap", "Namespace", "Node"], "x.example/v1": ["Thing"]},
    "namespaces": {"ours": "accelerator-playbook", "theirs": None, "helm": "Helm"},
}


def made(kind, name, namespace=None, api="v1"):
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": api, "kind": kind, "metadata": metadata}


OBJECTS = {
    "there": made("ConfigMap", "a", "ours"),
    "namespace to come": made("ConfigMap", "b", "new"),
    "kind to come": made("Other", "c", "ours", "x.example/v1"),
    "group to come": made("Thing", "d", "ours", "y.example/v1"),
    "cluster-wide": made("Namespace", "new"),
    "custom": made("Thing", "e", "theirs", "x.example/v1"),
}


def test_sendable_keeps_the_order_and_what_can_be_sent():
    sent = objects.sendable(OBJECTS.values(), FACTS)
    assert sent == [OBJECTS["there"], OBJECTS["cluster-wide"], OBJECTS["custom"]]


def answered(item, stored):
    return {"result": {**item, "metadata": {**item["metadata"], **({"resourceVersion": "7"} if stored else {})}}}


@pytest.mark.parametrize(
    ("dry_run", "missing"),
    [
        (None, ["a", "e"]),
        ({"skipped": True}, ["a", "e"]),
        (answered(OBJECTS["there"], True), ["e"]),
        (answered(OBJECTS["there"], False), ["a", "e"]),
        ({"result": {"results": [answered(OBJECTS["there"], True), answered(OBJECTS["custom"], True)]}}, []),
        ({"result": {"results": [answered(OBJECTS["there"], True), answered(OBJECTS["custom"], False)]}}, ["e"]),
    ],
    ids=["no dry run", "skipped", "one, stored", "one, new", "both stored", "one of them new"],
)
def test_would_be_created(dry_run, missing):
    found = objects.would_be_created([OBJECTS["there"], OBJECTS["custom"]], dry_run)
    assert [item["metadata"]["name"] for item in found] == missing


@pytest.mark.parametrize(("name", "ours"), [("ours", True), ("theirs", False), ("helm", False), ("absent", False)])
def test_only_our_namespace_is_removable(name, ours):
    assert bool(objects.removable([made("Namespace", name)], FACTS)) is ours


def test_a_node_is_never_removable_and_the_last_made_goes_first():
    wanted = [made("Namespace", "ours"), made("Node", "n"), OBJECTS["there"], OBJECTS["kind to come"]]
    assert objects.removable(wanted, FACTS) == [OBJECTS["there"], made("Namespace", "ours")]


CSV = {"kind": "ClusterServiceVersion", "spec": {"customresourcedefinitions": {"owned": [{"name": "t.x.example"}]}}}
RECORD = made("ConfigMap", "accelerator-user-a", "nfd")
INSTALL = [made("Namespace", "nfd"), made("Subscription", "nfd", "nfd"), RECORD]
DISCOVERY = made("NodeFeatureDiscovery", "accelerator", "nfd")
USER = made("NodeFeatureRule", "b", "nfd")


@pytest.mark.parametrize(
    ("install", "users", "csvs", "shared", "definitions", "kinds"),
    [
        (
            INSTALL,
            [],
            [CSV],
            [DISCOVERY],
            ["t.x.example"],
            "Namespace ConfigMap CustomResourceDefinition ClusterServiceVersion Subscription NodeFeatureDiscovery",
        ),
        (INSTALL, [], [], [DISCOVERY], [], "Namespace ConfigMap Subscription NodeFeatureDiscovery"),
        (INSTALL, [], [], [], ["t.x.example"], "Namespace ConfigMap CustomResourceDefinition Subscription"),
        (INSTALL, [USER], [CSV], [DISCOVERY], ["t.x.example"], "ConfigMap"),
        ([], [], [], [RECORD, DISCOVERY], ["t.x.example"], "ConfigMap NodeFeatureDiscovery"),
        ([], [USER], [], [RECORD, DISCOVERY], [], "ConfigMap"),
    ],
    ids=[
        "the last user",
        "half installed",
        "half removed",
        "another user",
        "only the instance is ours",
        "which another uses",
    ],
)
def test_an_operator_goes_with_its_last_user(install, users, csvs, shared, definitions, kinds):
    found = objects.uninstalled(install, users, csvs, shared, definitions)
    assert [item["kind"] for item in found] == kinds.split()


HELD = {
    "msg": '"Module" "widget": Timed out waiting on resource',
    "result": {"kind": "Module", "metadata": {"name": "widget", "namespace": "n", "finalizers": ["kmm/unload"]}},
}


def test_what_does_not_go_is_told_with_what_holds_it():
    said = objects.not_gone(HELD, 60)
    assert said.startswith('"Module" "widget": Timed out waiting on resource; expected Module n/widget to be gone ')
    assert "within 60 s; seen it there, finalizers kmm/unload; next: kubectl -n n get module widget -o yaml" in said
    assert "kubectl get nodemodulesconfigs -o yaml" in said
    assert said.endswith("then run the play again, it goes on from here")
    namespace = {"msg": "no", "result": {"kind": "Namespace", "metadata": {"name": "widget"}}}
    assert "finalizers none; next: kubectl get namespace widget -o yaml; then" in objects.not_gone(namespace, 60)


def test_what_is_refused_is_told_as_it_was_said():
    said = objects.not_gone({"msg": "Failed to delete object: Forbidden"}, 60)
    assert said == "Failed to delete object: Forbidden; next: mend that, then run the play again, it goes on from here"


def test_title():
    assert objects.title(OBJECTS["there"]) == "ConfigMap ours/a"
    assert objects.title(OBJECTS["cluster-wide"]) == "Namespace new"
