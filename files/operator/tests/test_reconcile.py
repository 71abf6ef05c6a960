# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from accelerator_operator.objects import with_owner
from accelerator_operator.reconcile import Applied, Observed, Wanted, conflict, plan, teardown
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names

Obj = dict[str, Any]
DEFINITION: Obj = {"name": "accel", "namespace": "space", "driver": {"module": "accel_mod", "version": "1"}}
LABEL = _names.version_label(DEFINITION)
RESOURCE: Obj = {
    "apiVersion": "example.com/v1",
    "kind": "Accel",
    "metadata": {"name": "accel", "namespace": "space", "uid": "mine"},
}


def made(kind: str, name: str = "accel", by: str = _names.OPERATOR, owner: str = "mine", **metadata: Any) -> Obj:
    resource = {**RESOURCE, "metadata": {**RESOURCE["metadata"], "uid": owner, "name": f"owner-{owner}"}}
    labels = {_names.LABEL_MANAGED_BY: by}
    obj = {
        "kind": kind,
        "metadata": {"name": name, "namespace": "space", "labels": labels, **metadata},
        "spec": {"a": 1},
    }
    return with_owner(obj, resource)


def pod(component: str, instance: str = "accel") -> Obj:
    pod_labels = {_names.LABEL_INSTANCE: instance, _names.LABEL_COMPONENT: component}
    return {"kind": "Pod", "metadata": {"name": f"{component}-1", "labels": pod_labels}}


def node(name: str, **labels: str) -> Obj:
    return {"name": name, "uid": f"uid-{name}", "labels": labels}


def want(*objects: Obj, **node_labels: dict[str, str]) -> Wanted:
    return Wanted(DEFINITION, list(objects), node_labels)


def test_what_is_missing_is_applied_and_what_is_settled_is_not() -> None:
    module, plugin = made("Module"), made("DaemonSet")
    applied = Applied()
    assert plan(want(module, plugin), RESOURCE, Observed([], [], []), applied).apply == [module, plugin]
    applied.record(module, module)
    applied.record(plugin, plugin)
    counted = {**module, "status": {"availableNumber": 1}}
    assert plan(want(module, plugin), RESOURCE, Observed([counted, plugin], [], []), applied).apply == []


@pytest.mark.parametrize("side", ["wanted", "live"])
def test_a_change_on_either_side_is_applied(side: str) -> None:
    module, applied = made("Module"), Applied()
    applied.record(module, module)
    changed = {**module, "spec": {"a": 2}}
    wanted, live = (changed, module) if side == "wanted" else (module, changed)
    assert plan(want(wanted), RESOURCE, Observed([live], [], []), applied).apply == [wanted]


def test_only_our_own_surplus_is_deleted() -> None:
    ours, going = made("Deployment"), made("Service", deletionTimestamp="now")
    playbooks, others = (
        made("Deployment", "accel-operator", by=_names.PLAYBOOK),
        made("Service", "x", owner="other"),
    )
    todo = plan(want(), RESOURCE, Observed([ours, going, playbooks, others], [], []), Applied())
    assert todo.delete == [ours]


@pytest.mark.parametrize(
    ("labels", "wanted", "sent"),
    [
        ({}, {LABEL: "1"}, {LABEL: "1"}),
        ({LABEL: "0"}, {LABEL: "1"}, {LABEL: "1"}),
        ({LABEL: "1", "other": "x"}, {LABEL: "1"}, None),
        ({LABEL: "1"}, {}, {}),
        ({"other": "x"}, {}, None),
    ],
)
def test_version_labels_of_nodes(labels: Obj, wanted: Obj, sent: Obj | None) -> None:
    todo = plan(want(a=wanted), RESOURCE, Observed([], [node("a", **labels)], []), Applied())
    assert [partial["metadata"] for partial in todo.apply] == (
        [] if sent is None else [{"name": "a", "uid": "uid-a", "labels": sent}]
    )


@pytest.mark.parametrize(
    ("live", "refused"),
    [
        (made("Module"), None),
        (made("Module", by="somebody"), None),
        (made("Module", by=_names.PLAYBOOK), "run teardown.yml"),
        (made("Module", owner="other"), "belongs to Accel owner-other"),
        (made("Service", by=_names.PLAYBOOK), None),
    ],
)
def test_one_writer_per_object(live: Obj, refused: str | None) -> None:
    said = conflict(want(made("Module")), RESOURCE, Observed([live], [], []))
    assert (said is None) if refused is None else (refused in said)


CONSUMER, PLUGIN, SERVICE = made("Deployment"), made("DaemonSet"), made("Service")
MODULE, ACCOUNT = made("Module"), made("ServiceAccount")
GOING = made("Module", deletionTimestamp="now")
KMMS_PLUGIN = {
    "metadata": {
        "name": "by-kmm",
        "labels": {
            "kmm.node.kubernetes.io/module.name": DEFINITION["name"],
            "kmm.node.kubernetes.io/role": "device-plugin",
        },
    }
}


@pytest.mark.parametrize(
    ("objects", "pods", "deleted", "named"),
    [
        (
            [ACCOUNT, MODULE, PLUGIN, SERVICE, CONSUMER],
            [pod("consumer")],
            [CONSUMER],
            "Deployment accel, Pod consumer-1",
        ),
        ([ACCOUNT, MODULE, PLUGIN, SERVICE], [pod("consumer"), pod("device-plugin")], [], "Pod consumer-1"),
        ([ACCOUNT, MODULE, PLUGIN, SERVICE], [pod("device-plugin")], [PLUGIN, SERVICE], "DaemonSet accel"),
        ([ACCOUNT, MODULE], [pod("device-plugin")], [], "Pod device-plugin-1"),
        ([ACCOUNT, MODULE], [], [MODULE], "Module accel"),
        ([ACCOUNT, MODULE], [KMMS_PLUGIN], [MODULE], "Module accel"),  # its pod goes with it, and not before
        ([ACCOUNT, GOING], [], [], "a process holds a device"),
        ([ACCOUNT], [], [ACCOUNT], "ServiceAccount accel"),
    ],
)
def test_a_deletion_takes_one_step_at_a_time(
    objects: list[Obj], pods: list[Obj], deleted: list[Obj], named: str
) -> None:
    labelled = node("a", **{LABEL: "1"})
    todo = teardown(DEFINITION, RESOURCE, Observed(objects, [labelled], [*pods, pod("consumer", "another")]))
    assert todo.delete == deleted
    assert named in (todo.waiting_for or "")
    assert todo.apply == []


def test_the_last_step_takes_the_labels_off() -> None:
    nodes = [node("a", **{LABEL: "1"}), node("b")]
    todo = teardown(DEFINITION, RESOURCE, Observed([], nodes, []))
    assert (todo.delete, todo.waiting_for) == ([], None)
    assert [partial["metadata"] for partial in todo.apply] == [{"name": "a", "uid": "uid-a", "labels": {}}]


def test_deleting_one_that_was_not_served_touches_nothing() -> None:
    theirs = [made("Module", owner="other")]
    todo = teardown(DEFINITION, RESOURCE, Observed(theirs, [node("a", **{LABEL: "1"})], [pod("consumer")]))
    assert (todo.apply, todo.delete, todo.waiting_for) == ([], [], None)
