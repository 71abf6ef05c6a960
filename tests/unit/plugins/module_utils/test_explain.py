# SPDX-License-Identifier: Apache-2.0
"""One breakage a link, on a cluster where all else is well: the link, what shows it, and what to type next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _explain as explain
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._health import Report
from explain_site import (
    APIS,
    BOOT,
    CONFIG,
    DEFINITION,
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
    node,
    plugin,
    pod,
    site,
    snapshot,
    state,
    user,
)

FIVE = ["Healthy"] * 5
Break = Callable[[Obj], None]


def explained(raw: Obj, definition: Obj = DEFINITION) -> explain.Explained:
    return explain.explain(definition, snapshot(raw))


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


def other_kernel(raw: Obj) -> None:
    unloaded(raw)
    raw["nodes"][0]["status"]["nodeInfo"]["kernelVersion"] = "6.12.0+"


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


CASES: list[tuple[Break, str, str, str, str]] = [
    (not_ready, "node", "Node/worker-1", "stopped posting", "kubectl describe node worker-1"),
    (gone_from_the_bus, "hardware", "NodeFeature/worker-1", f"no PCI device 1234:11e8, but {READY}", "dmesg"),
    (no_nfd, "label", "CustomResourceDefinition/nodefeaturerules", "no NodeFeatureRule", "accelerator.nfd -e"),
    (no_rule, "label", "NodeFeatureRule/ptemplate", "no such rule", "accelerator.nfd -e"),
    (changed_rule, "label", "NodeFeatureRule/ptemplate", "rule without it", "accelerator.nfd -e"),
    (bare, "label", "Node/worker-1", "though the rule is there", "nfd-master"),
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
    (unplaced, "node_config", "NodeModulesConfig/worker-1", "no module ptemplate/ptemplate", "kubectl logs -A -l"),
    (other_kernel, "node_config", "NodeModulesConfig/worker-1", KERNEL, "kubectl logs -A -l"),
    (worker_fails, "loaded", "Pod/ptemplate/ptemplate-worker", "Key was rejected", "logs ptemplate-worker"),
    (unloaded, "loaded", "NodeModulesConfig/worker-1", "no worker pod", "kubectl logs -A -l"),
    (rebooted, "loaded", "NodeModulesConfig/worker-1", "before, an earlier boot", "kubectl logs -A -l"),
    (old_image, "loaded", "NodeModulesConfig/worker-1", "another containerImage", "kubectl logs -A -l"),
    (old_version, "loaded", "Node/worker-1", "0.0.9", "get pods -o wide"),
    (unlabelled_ready, "loaded", "Node/worker-1", "not there", "kubectl logs -A -l"),
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
    (not_counted, "capacity", "Node/worker-1", "not there", "get node worker-1 -o jsonpath"),
    (not_allocatable, "allocatable", "Node/worker-1", "4", "plugin-worker-1:9400/proxy/devices"),
    (cordoned, "taints", "Node/worker-1", "unschedulable:NoSchedule", "kubectl uncordon worker-1"),
    (tainted, "taints", "Node/worker-1", "team=a:NoSchedule", "kubectl describe node worker-1"),
    (rejected, "pod", "Pod/team/training-0", "no healthy devices present", "kubectl -n team delete pod training-0"),
]


@pytest.mark.parametrize(("broken", "link", "where", "seen", "command"), CASES, ids=[one[0].__name__ for one in CASES])
def test_the_first_broken_link_is_named(broken: Break, link: str, where: str, seen: str, command: str) -> None:
    raw = site()
    broken(raw)
    found = explained(raw)
    (row,) = found.rows
    assert (row["state"], row["link"], row["evidence"]["object"]) == ("broken", link, where)
    assert seen in row["evidence"]["value"]
    assert command in row["next"]
    assert row["expected"]
    assert row["fix"]
    assert not found.ok
    assert list(row["links"].values())[-1] == "broken"
    text = explain.table(found.rows, found.pods)
    assert [word for word in (link, row["fix"], row["next"]) if word not in text] == []


def test_every_link_has_a_breakage() -> None:
    assert {one[1] for one in CASES} == {name for name, _link in explain.LINKS}


def test_a_cluster_where_all_is_well() -> None:
    found = explained(site())
    assert found.ok
    assert (found.rows[0]["state"], found.rows[0]["link"], found.pods) == ("ok", None, [])
    assert set(found.rows[0]["links"].values()) == {"ok"}
    assert explain.table(found.rows).splitlines()[1].split() == ["worker-1", "ok"]


def test_a_node_without_the_hardware_is_no_fault() -> None:
    raw = site()
    other = node("worker-2")
    other["metadata"]["labels"] = {}
    for key in ("capacity", "allocatable"):
        del other["status"][key][RESOURCE]
    raw["nodes"].append(other)
    raw["features"].append(feature("worker-2", device="ffff"))
    found = explained(raw)
    assert found.ok
    assert [(row["node"], row["state"], row["link"]) for row in found.rows] == [
        ("worker-1", "ok", None),
        ("worker-2", "absent", "hardware"),
    ]


def test_no_node_with_the_hardware_is_not_well() -> None:
    raw = site()
    bare(raw)
    raw["features"] = [feature(device="ffff")]
    assert not explained(raw).ok
    assert not explained({**raw, "nodes": []}).ok
    assert explain.table([]) == "no node is a candidate for this hardware"


FORBIDDEN: list[tuple[str, str, str, Break]] = [
    ("nodefeatures.nfd.openshift.io", "nodefeatures", "features", bare),
    ("nodefeaturerules.nfd.k8s-sigs.io", "nodefeaturerules", "rules", bare),
    ("ptemplates.example.com", "", "customs", lambda _raw: None),
    ("modules.kmm.sigs.x-k8s.io", "", "modules", lambda _raw: None),
    ("moduleimagesconfigs.kmm.sigs.x-k8s.io", "", "images", unplaced),
    ("nodemodulesconfigs.kmm.sigs.x-k8s.io", "", "node_configs", lambda _raw: None),
    ("daemonsets.apps", "", "daemon_sets", no_plugin_pod),
    ("pods of all namespaces", "pods", "users", lambda _raw: None),
]


@pytest.mark.parametrize(("what", "short", "part", "broken"), FORBIDDEN, ids=[one[0] for one in FORBIDDEN])
def test_a_forbidden_list_is_no_breakage(what: str, short: str, part: str, broken: Break) -> None:
    """What it would have shown is unknown; a link further on may still be seen to be broken."""
    raw = site()
    broken(raw)
    api = DEFINITION["operator"]["api"]
    what = f"{api['plural']}.{api['group']}" if part == "customs" else what
    raw |= {part: [], "unread": {what: "forbidden"}}
    found = explained(raw)
    (row,) = found.rows
    assert not found.ok
    assert "unknown" in row["links"].values()
    if row["state"] == "unknown":
        assert row["next"] == f"kubectl auth can-i list {short or what} -A"


def test_the_users_own_label() -> None:
    definition = {**DEFINITION, "hardware": {"node_label": {"rack": "7"}}}
    raw = site()
    bare(raw)
    (row,) = explained(raw, definition).rows
    assert (row["state"], row["link"]) == ("absent", "hardware")
    labels(raw)[READY] = ""
    (row,) = explained(raw, definition).rows
    assert (row["state"], row["link"]) == ("broken", "hardware")


def test_the_label_of_the_definition_s_nodes() -> None:
    raw = site()
    (row,) = explained(raw, {**DEFINITION, "nodes": {"pool": "a"}}).rows
    assert (row["link"], row["next"]) == ("label", "kubectl label node worker-1 pool=a")


def test_a_playbook_s_accelerator_has_no_custom_resource() -> None:
    raw = site()
    raw["customs"] = []
    assert explained(raw, {**DEFINITION, "managed_by": "playbook"}).ok
    no_module(raw)
    (row,) = explained(raw, {**DEFINITION, "managed_by": "playbook"}).rows
    assert (row["link"], row["next"]) == ("module", "ansible-playbook ecosystem_edge.accelerator.kmm -e @DEFINITION")


def test_kmm_s_own_plugin() -> None:
    definition = {**DEFINITION, "device_plugin": {"deploy": "kmm"}}
    raw = site()
    raw["pods"][0]["metadata"]["labels"] = {_names.BY_KMM: "ptemplate"}
    assert explained(raw, definition).ok
    no_daemon_set(raw)
    (row,) = explained(raw, definition).rows
    assert row["evidence"]["object"] == "DaemonSet/ptemplate/of KMM"


def test_suspects_are_the_ready_plugins_of_nodes_that_are_not_well() -> None:
    raw = site()
    assert explain.suspects(DEFINITION, snapshot(raw)) == []
    counts(raw, 5, 4)
    assert explain.suspects(DEFINITION, snapshot(raw)) == ["plugin-worker-1"]
    raw["pods"][0] = state(plugin(), "Running")
    assert explain.suspects(DEFINITION, snapshot(raw)) == []


def test_the_table_has_what_is_broken_first_and_advises_on_a_few() -> None:
    raw = site()
    raw["nodes"] = [node(f"worker-{number:02}") for number in range(30)]
    raw["nodes"][7]["status"]["allocatable"][RESOURCE] = "4"
    found = explained(raw)
    text = explain.table(found.rows)
    assert text.splitlines()[0].split() == ["NODE", "STATE", "LINK", "SEEN", "EXPECTED"]
    assert text.endswith("and 10 more"), "all but worker-01 lack a NodeModulesConfig"


def any_row(**over: Any) -> Obj:
    return {"node": "n", "state": "broken", "link": "x", "evidence": {"value": "a\n b", "object": "o"}, **over}


def test_a_message_of_several_lines_takes_one_row() -> None:
    text = explain.table([any_row(expected="c", fix="f", next="n")])
    assert text.splitlines()[1].split() == ["n", "broken", "x", "a", "b", "c"]
