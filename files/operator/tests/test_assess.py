# SPDX-License-Identifier: Apache-2.0
"""A site where all is well, and what is said when one thing is not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from accelerator_operator.assess import _devices_ready, assess
from accelerator_operator.objects import KMM_POD_LABELS, KMM_ROLE_LABEL
from accelerator_operator.reconcile import Observed, Wanted
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests import _taints

Obj = dict[str, Any]
DEFINITION: Obj = {
    "name": "accel",
    "namespace": "space",
    "resource": "example.com/accel",
    "driver": {"module": "accel_mod", "version": "2"},
    "devices": {"count": 5},
    "device_plugin": {"replicas": 1},
}
SELECTOR = {"hardware": "yes"}


def named(kind: str, name: str, **rest: Any) -> Obj:
    return {"kind": kind, "metadata": {"name": name, "generation": 2}, **rest}


def node(name: str, devices: int = 5, **labels: str) -> Obj:
    labels = {"hardware": "yes", _names.ready_label(DEFINITION): "", **labels}
    allocatable = {"example.com/accel": str(devices)}
    return {"name": name, "uid": name, "ready": True, "taints": [], "labels": labels, "allocatable": allocatable}


def pod(component: str, name: str, **status: Any) -> Obj:
    ours = {_names.LABEL_INSTANCE: "accel", _names.LABEL_COMPONENT: component}
    labels = {KMM_POD_LABELS[0]: "accel"} if component == "driver" else ours
    return {"kind": "Pod", "metadata": {"name": name, "labels": labels}, "status": status}


def stuck(component: str) -> Obj:
    waiting = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    return pod(component, "stuck", containerStatuses=[waiting])


def well() -> Observed:
    module = named("Module", "accel", spec={"selector": SELECTOR})
    module["status"] = {"moduleLoader": {"desiredNumber": 2, "availableNumber": 2}}
    counts = {"desiredNumberScheduled": 2, "numberReady": 2, "updatedNumberScheduled": 2, "observedGeneration": 2}
    plugin = named("DaemonSet", _names.device_plugin(DEFINITION), status=counts)
    running = {"availableReplicas": 1, "updatedReplicas": 1, "observedGeneration": 2}
    consumer = named("Deployment", _names.consumer(DEFINITION), spec={"replicas": 1}, status=running)
    ready = pod("consumer", "consumer-1", conditions=[{"type": "Ready", "status": "True"}])
    other = node("other")
    del other["labels"]["hardware"]
    return Observed([module, plugin, consumer], [node("b"), node("a"), other], [ready, pod("device-plugin", "p")])


def judge(observed: Observed, without: str = "") -> tuple[Any, Obj]:
    objects = [{**obj, "status": {}} for obj in well().objects if obj["kind"] != without]
    return assess(Wanted(DEFINITION, objects, {}), observed)


def test_shared_devices_count_for_each_who_may_share_them() -> None:
    shared = {**DEFINITION, "device_plugin": {"replicas": 2}}
    assert not _devices_ready(shared, node("a", 5))
    assert _devices_ready(shared, node("a", 10))


def test_all_is_well() -> None:
    verdict, counts = judge(well())
    assert (verdict.ready, verdict.reason) == (True, "AsExpected")
    assert verdict.message == "10 example.com/accel allocatable on 2 node(s); consumer running: consumer-1"
    assert counts == {
        "consumers": ["consumer-1"],
        "nodes": {"matching": 2, "moduleLoaded": 2, "devicesReady": 2},
        "devices": {"expected": 10, "allocatable": 10},
    }


def no_hardware(seen: Observed) -> None:
    for view in seen.nodes:
        view["labels"].pop("hardware", None)


def cordoned(seen: Observed) -> None:
    for view in seen.nodes:
        view["taints"] = [_taints.Taint(_taints.CORDON, "", "NoSchedule")]


def not_loaded(seen: Observed) -> None:
    seen.nodes[1]["labels"].pop(_names.ready_label(DEFINITION))
    seen.objects[0]["status"]["moduleLoader"]["availableNumber"] = 1


def label_without_counter(seen: Observed) -> None:
    seen.objects[0]["status"] = {}


def old_version_loaded(seen: Observed) -> None:
    label = _names.ready_label(DEFINITION).replace(".ready", ".version.ready")
    seen.nodes[0]["labels"][label] = "2"
    seen.nodes[1]["labels"][label] = "1"


def puller_stuck(seen: Observed) -> None:
    not_loaded(seen)
    other = stuck("driver")
    other["metadata"] = {"name": "other", "labels": {KMM_POD_LABELS[1]: "another"}}
    puller = stuck("driver")
    puller["metadata"] = {"name": "accel-pull-pod", "labels": {KMM_POD_LABELS[1]: "accel"}}
    seen.pods.extend([other, puller])


def kmm_plugin_stuck(seen: Observed) -> None:
    few_devices(seen)
    plugin = stuck("driver")
    plugin["metadata"]["labels"][KMM_ROLE_LABEL] = "device-plugin"
    seen.pods.append(plugin)


def worker_stuck(seen: Observed) -> None:
    not_loaded(seen)
    seen.pods.append(stuck("driver"))


def plugin_unscheduled(seen: Observed) -> None:
    seen.objects[1]["status"] = {"observedGeneration": 2}


def plugin_old(seen: Observed) -> None:
    seen.objects[1]["status"]["observedGeneration"] = 1


def plugin_stuck(seen: Observed) -> None:
    seen.objects[1]["status"]["numberReady"] = 1
    seen.pods.append(stuck("device-plugin"))


def few_devices(seen: Observed) -> None:
    seen.nodes[0]["allocatable"]["example.com/accel"] = "3"


def node_down(seen: Observed) -> None:
    seen.nodes[0]["ready"] = False


def consumer_old(seen: Observed) -> None:
    seen.objects[2]["status"]["updatedReplicas"] = 0


@pytest.mark.parametrize(
    ("fault", "reason", "failed", "said"),
    [
        (no_hardware, "NoMatchingNodes", True, "seen 0 of 3; see kubectl get nodes -l hardware=yes"),
        (cordoned, "NoMatchingNodes", True, "at least 1 schedulable"),
        (not_loaded, "ModuleNotLoaded", False, "node a: driver accel_mod expected on 2 node(s), KMM wants it on 2 and"),
        (label_without_counter, "ModuleNotLoaded", False, "KMM wants it on 0"),
        (old_version_loaded, "ModuleNotLoaded", False, "node a: driver accel_mod expected on 2 node(s)"),
        (puller_stuck, "ModuleNotLoaded", True, "pod accel-pull-pod: ImagePullBackOff"),
        (kmm_plugin_stuck, "DevicesMissing", True, "pod stuck: ImagePullBackOff"),
        (worker_stuck, "ModuleNotLoaded", True, "pod stuck: ImagePullBackOff: no such image"),
        (plugin_unscheduled, "DevicePluginNotReady", False, "expected 2 ready pod(s), seen 0 ready"),
        (plugin_old, "DevicePluginNotReady", False, "kubectl -n space describe daemonset accel-device-plugin"),
        (plugin_stuck, "DevicePluginNotReady", True, "pod stuck: ImagePullBackOff"),
        (few_devices, "DevicesMissing", False, "node b: expected 5 example.com/accel allocatable, seen 3;"),
        (
            node_down,
            "DevicesMissing",
            False,
            "node b: expected 5 example.com/accel allocatable, seen 5 (the node",
        ),
        (consumer_old, "ConsumerNotRunning", False, "seen 1 available and 0 up to date"),
    ],
)
def test_the_first_missing_link_is_named(
    fault: Callable[[Observed], None], reason: str, failed: bool, said: str
) -> None:
    observed = copy.deepcopy(well())
    fault(observed)
    verdict, _ = judge(observed)
    assert (verdict.ready, verdict.reason, verdict.failed) == (False, reason, failed)
    assert said in verdict.message


@pytest.mark.parametrize("kind", ["DaemonSet", "Deployment"])
def test_what_is_not_wanted_is_not_missed(kind: str) -> None:
    observed = well()
    observed.objects[:] = [obj for obj in observed.objects if obj["kind"] != kind]
    assert judge(observed, without=kind)[0].ready
    assert not judge(observed)[0].ready


@pytest.mark.parametrize(
    ("taint", "tolerations", "matching"),
    [
        ("node.kubernetes.io/memory-pressure", [], 2),
        ("team", [], 1),
        ("team", [{"key": "team", "operator": "Exists"}], 2),
        ("team", [{"key": "other", "operator": "Exists"}], 1),
    ],
)
def test_a_node_counts_where_kmm_would_load(taint: str, tolerations: list[Obj], matching: int) -> None:
    observed = well()
    observed.nodes[0]["taints"] = [_taints.Taint(taint, "", "NoSchedule")]
    objects = copy.deepcopy(observed.objects)
    objects[0]["spec"]["tolerations"] = tolerations
    assert assess(Wanted(DEFINITION, objects, {}), observed)[1]["nodes"]["matching"] == matching


def test_without_a_count_one_device_a_node_is_enough() -> None:
    observed = well()
    few_devices(observed)
    definition = {**DEFINITION, "devices": {"count": None}}
    verdict, counts = assess(Wanted(definition, well().objects, {}), observed)
    assert verdict.ready
    assert counts["devices"] == {"expected": 2, "allocatable": 8}
