# SPDX-License-Identifier: Apache-2.0
"""Breakages of a cluster where all else is well, and what is to be said of each."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._health import Report
from explain_site import (
    APIS,
    BOOT,
    CONFIG,
    ENTRY,
    IMAGE,
    KERNEL,
    PRESENT,
    READY,
    RESOURCE,
    VERSION,
    VERSION_READY,
    Obj,
    devices,
    feature,
    plugin,
    pod,
    state,
    user,
)

FIVE = ["Healthy"] * 5
NEW_IMAGE = IMAGE.replace(KERNEL, "6.12.0")
Break = Callable[[Obj], None]


def labels(raw: Obj) -> dict[str, str]:
    found: dict[str, str] = raw["nodes"][0]["metadata"]["labels"]
    return found


def unlabel(raw: Obj, *names: str) -> None:
    for name in names:
        del labels(raw)[name]


def counts(raw: Obj, capacity: int | None, allocatable: int = 0) -> None:
    for key, number in (("capacity", capacity), ("allocatable", allocatable)):
        if number is None or capacity is None:
            del raw["nodes"][0]["status"][key][RESOURCE]
        else:
            raw["nodes"][0]["status"][key][RESOURCE] = str(number)


def not_ready(raw: Obj) -> None:
    raw["nodes"][0]["status"]["conditions"] = [
        {"type": "Ready", "status": "Unknown", "message": "Kubelet stopped posting node status."}
    ]


def gone_from_the_bus(raw: Obj) -> None:
    raw["features"] = [feature(device="ffff")]
    unlabel(raw, PRESENT)


def bare(raw: Obj) -> None:
    """Labelled neither by NFD nor by KMM, and nothing counted."""
    unlabel(raw, PRESENT, READY, VERSION_READY)
    counts(raw, None)


def no_nfd(raw: Obj) -> None:
    bare(raw)
    raw["apis"] = APIS[:1]


def no_rule(raw: Obj) -> None:
    bare(raw)
    raw["rules"] = []


def changed_rule(raw: Obj) -> None:
    bare(raw)
    raw["rules"][0]["spec"]["rules"][0]["labels"] = {"other": "true"}


def unloaded(raw: Obj) -> None:
    unlabel(raw, READY, VERSION_READY)
    counts(raw, 0)
    raw["pods"] = [one for one in raw["pods"] if "plugin" not in one["metadata"]["name"]]
    raw["node_configs"][0]["status"] = {}


def unplaced(raw: Obj) -> None:
    unloaded(raw)
    raw["node_configs"][0]["spec"] = {"modules": []}


def no_custom(raw: Obj) -> None:
    unplaced(raw)
    raw["customs"] = []


def silent_operator(raw: Obj) -> None:
    raw["customs"][0]["metadata"]["generation"] = 3
    raw["pods"][1] = state(raw["pods"][1], "Running", waiting={"reason": "CrashLoopBackOff", "message": "exit 1"})


def invalid_custom(raw: Obj) -> None:
    degraded = {"type": "Degraded", "status": "True", "reason": "InvalidSpec", "message": "spec.selector: empty"}
    raw["customs"][0]["status"]["conditions"] = [degraded]


def no_kmm(raw: Obj) -> None:
    unplaced(raw)
    raw["apis"] = APIS[1:]


def no_module(raw: Obj) -> None:
    unplaced(raw)
    raw["modules"] = []


def other_selector(raw: Obj) -> None:
    unplaced(raw)
    raw["modules"][0]["spec"]["selector"] = {"rack": "7"}


def cordoned_and_unloaded(raw: Obj) -> None:
    unplaced(raw)
    taint = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    raw["nodes"][0]["spec"] = {"unschedulable": True, "taints": [taint]}


def no_version_label(raw: Obj) -> None:
    unplaced(raw)
    unlabel(raw, VERSION)


def no_mapping(raw: Obj) -> None:
    unplaced(raw)
    raw["modules"][0]["spec"]["moduleLoader"]["container"]["kernelMappings"] = [{"literal": "6.1.0", "regexp": "^6[."}]


def no_image(raw: Obj) -> None:
    unplaced(raw)
    raw["images"] = []
    puller = pod("ptemplate-pull-pod-abcde", on="worker-1")
    waiting = {"reason": "ImagePullBackOff", "message": f"{IMAGE}: not found"}
    raw["pods"].append(state(puller, "Pending", waiting=waiting))


def nowhere_to_look_for_the_image(raw: Obj) -> None:
    no_image(raw)
    message = "0/1 nodes are available: 1 node(s) had untolerated taint(s)."
    pending = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    raw["pods"][-1]["status"] = {"phase": "Pending", "conditions": [pending]}


def other_kernel(raw: Obj) -> None:
    unloaded(raw)
    raw["nodes"][0]["status"]["nodeInfo"]["kernelVersion"] = "6.12.0+"


def kmm_behind(raw: Obj) -> None:
    other_kernel(raw)
    raw["images"][0]["status"]["imagesStates"].append({"image": NEW_IMAGE, "status": "Exists"})


def of_another_module(raw: Obj) -> None:
    worker_fails(raw)
    raw["pods"][-1]["metadata"]["labels"]["kmm.node.kubernetes.io/module.name"] = "other"


def no_worker_of_nfd(raw: Obj) -> None:
    bare(raw)
    raw["features"] = []


def worker_fails(raw: Obj) -> None:
    unloaded(raw)
    worker = pod("ptemplate-worker", **{"kmm.node.kubernetes.io/worker-action": "Load"})
    ended = {"reason": "Error", "exitCode": 1, "message": "modprobe: Key was rejected by service"}
    raw["pods"].append(state(worker, "Running", terminated=ended))


def rebooted(raw: Obj) -> None:
    unloaded(raw)
    raw["node_configs"][0]["status"] = {"modules": [{**ENTRY, "bootId": "before"}]}


def old_image(raw: Obj) -> None:
    loaded = {**ENTRY, "config": {**CONFIG, "containerImage": "registry.example/old:1"}, "bootId": BOOT}
    raw["node_configs"][0]["status"] = {"modules": [loaded]}


def old_version(raw: Obj) -> None:
    labels(raw)[VERSION_READY] = "0.0.9"


def unlabelled_ready(raw: Obj) -> None:
    unlabel(raw, READY)


def few_devices(raw: Obj) -> None:
    counts(raw, 3, 3)
    raw["reports"]["plugin-worker-1"] = devices(*FIVE[:3])


def sick_device(raw: Obj) -> None:
    counts(raw, 5, 4)
    raw["reports"]["plugin-worker-1"] = devices(*FIVE[:4], "Unhealthy")


def no_daemon_set(raw: Obj) -> None:
    counts(raw, 5, 0)
    raw["daemon_sets"], raw["pods"] = [], raw["pods"][1:]


def no_plugin_pod(raw: Obj) -> None:
    counts(raw, 0)
    raw["pods"] = raw["pods"][1:]


def plugin_crashes(raw: Obj) -> None:
    counts(raw, 5, 0)
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}
    raw["pods"][0] = state(plugin(), "Running", waiting=waiting)


def plugin_silent(raw: Obj) -> None:
    counts(raw, 5, 4)
    raw["reports"]["plugin-worker-1"] = Report(False, [], "plugin-worker-1 did not answer at :9400/devices: 503")


def unregistered(raw: Obj) -> None:
    counts(raw, 0)
    raw["reports"]["plugin-worker-1"] = devices(*FIVE)._replace(registered=False)


def no_kubelet(raw: Obj) -> None:
    """The plugin is not ready because of it, and says so itself."""
    unregistered(raw)
    raw["pods"][0] = state(plugin(), "Running")


def not_counted(raw: Obj) -> None:
    counts(raw, None)
    raw["reports"]["plugin-worker-1"] = devices(*FIVE)


def not_allocatable(raw: Obj) -> None:
    counts(raw, 5, 4)
    raw["reports"]["plugin-worker-1"] = devices(*FIVE)


def cordoned(raw: Obj) -> None:
    raw["nodes"][0]["spec"]["unschedulable"] = True


def tainted(raw: Obj) -> None:
    raw["nodes"][0]["spec"]["taints"] = [{"key": "team", "value": "a", "effect": "NoSchedule"}]


def rejected(raw: Obj) -> None:
    failed = user("training-0", 2)
    message = f"Allocate failed due to no healthy devices present; cannot allocate unhealthy devices {RESOURCE}"
    failed["status"] = {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": message}
    raw["users"] = [failed]


# What was done, the link, the object that shows it, what was seen there, the next command.
CASES: list[tuple[Break, str, str, str, str]] = [
    (not_ready, "node", "Node/worker-1", "stopped posting", "kubectl describe node worker-1"),
    (gone_from_the_bus, "hardware", "NodeFeature/worker-1", f"no PCI device 1234:11e8, but {READY}", "dmesg"),
    (no_nfd, "label", "CustomResourceDefinition/nodefeaturerules", "no NodeFeatureRule", "accelerator.nfd -e"),
    (no_rule, "label", "NodeFeatureRule/ptemplate", "no such rule", "accelerator.nfd -e"),
    (changed_rule, "label", "NodeFeatureRule/ptemplate", "rule without it", "accelerator.nfd -e"),
    (bare, "label", "Node/worker-1", "though the rule is there", "grep nfd"),
    (no_worker_of_nfd, "label", "NodeFeature/worker-1", "not there", "--field-selector spec.nodeName=worker-1"),
    (no_custom, "custom_resource", "Ptemplate/ptemplate/ptemplate", "not there", "accelerator.operator -e"),
    (silent_operator, "custom_resource", "Ptemplate/ptemplate/ptemplate", "CrashLoopBackOff", "logs deployment/"),
    (
        invalid_custom,
        "custom_resource",
        "Ptemplate/ptemplate/ptemplate",
        "InvalidSpec: spec.selector",
        "get ptemplates",
    ),
    (no_kmm, "module", "Module/ptemplate/ptemplate", "no such kind", "accelerator.kmm -e"),
    (no_module, "module", "Module/ptemplate/ptemplate", "not there", "logs deployment/ptemplate-operator"),
    (other_selector, "selector", "Module/ptemplate/ptemplate", "wants rack=7", "get node worker-1 --show-labels"),
    (cordoned_and_unloaded, "selector", "Node/worker-1", "unschedulable:NoSchedule", "kubectl uncordon worker-1"),
    (no_version_label, "selector", "Node/worker-1", "not there", f"label --overwrite node worker-1 {VERSION}=0.1.0"),
    (no_mapping, "image", "Module/ptemplate/ptemplate", f"nothing for kernel {KERNEL}", "accelerator.driver_build -e"),
    (
        no_image,
        "image",
        "ModuleImagesConfig/ptemplate/ptemplate",
        "ImagePullBackOff",
        "describe pod ptemplate-pull-pod-",
    ),
    (
        nowhere_to_look_for_the_image,
        "image",
        "ModuleImagesConfig/ptemplate/ptemplate",
        "untolerated taint(s)",
        "describe pod ptemplate-pull-pod-",
    ),
    (
        unplaced,
        "node_config",
        "NodeModulesConfig/worker-1",
        "no module ptemplate/ptemplate",
        "-n openshift-kmm logs -l",
    ),
    (other_kernel, "image", "ModuleImagesConfig/ptemplate/ptemplate", NEW_IMAGE, "accelerator.driver_build -e"),
    (kmm_behind, "node_config", "NodeModulesConfig/worker-1", KERNEL, "-n openshift-kmm logs -l"),
    (of_another_module, "loaded", "NodeModulesConfig/worker-1", "no worker pod", "-n openshift-kmm logs -l"),
    (worker_fails, "loaded", "Pod/ptemplate/ptemplate-worker", "Key was rejected", "logs ptemplate-worker"),
    (unloaded, "loaded", "NodeModulesConfig/worker-1", "no worker pod", "-n openshift-kmm logs -l"),
    (rebooted, "loaded", "NodeModulesConfig/worker-1", "before, an earlier boot", "-n openshift-kmm logs -l"),
    (old_image, "loaded", "NodeModulesConfig/worker-1", "another containerImage", "-n openshift-kmm logs -l"),
    (old_version, "loaded", "Node/worker-1", "0.0.9", "get pods -o wide"),
    (unlabelled_ready, "loaded", "Node/worker-1", "not there", "-n openshift-kmm logs -l"),
    (few_devices, "device_nodes", "Pod/ptemplate/plugin-worker-1", "3 of /dev/ptemplate-*", "dmesg"),
    (sick_device, "device_nodes", "Pod/ptemplate/plugin-worker-1", "4: UnhealthyReason", "logs plugin-worker-1"),
    (
        no_daemon_set,
        "plugin",
        "DaemonSet/ptemplate/ptemplate-device-plugin",
        "advertised 5 are left",
        "logs deployment/",
    ),
    (
        no_plugin_pod,
        "plugin",
        "DaemonSet/ptemplate/ptemplate-device-plugin",
        "no pod on worker-1",
        "describe daemonset",
    ),
    (plugin_crashes, "plugin", "Pod/ptemplate/plugin-worker-1", "CrashLoopBackOff: back-off", "describe pod plugin-"),
    (plugin_silent, "plugin", "Pod/ptemplate/plugin-worker-1", "did not answer", "logs plugin-worker-1"),
    (unregistered, "registration", "Pod/ptemplate/plugin-worker-1", "false", "logs plugin-worker-1"),
    (no_kubelet, "registration", "Pod/ptemplate/plugin-worker-1", "false", "logs plugin-worker-1"),
    (not_counted, "capacity", "Node/worker-1", "not there", "get node worker-1 -o jsonpath"),
    (not_allocatable, "allocatable", "Node/worker-1", "4", "plugin-worker-1:9400/proxy/devices"),
    (cordoned, "taints", "Node/worker-1", "unschedulable:NoSchedule", "kubectl uncordon worker-1"),
    (tainted, "taints", "Node/worker-1", "team=a:NoSchedule", "kubectl describe node worker-1"),
    (rejected, "pod", "Pod/team/training-0", "no healthy devices present", "kubectl -n team delete pod training-0"),
]
