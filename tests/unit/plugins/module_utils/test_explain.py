# SPDX-License-Identifier: Apache-2.0
"""One breakage a link, on a cluster where all else is well: the link, what shows it, and what to type next."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _explain as explain
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names
from explain_breakages import (
    CASES,
    Break,
    bare,
    cordoned_and_unloaded,
    counts,
    labels,
    no_daemon_set,
    no_module,
    no_plugin_pod,
    unplaced,
)
from explain_site import DEFINITION, READY, RESOURCE, Obj, feature, node, plugin, site, snapshot, state


def explained(raw: Obj, definition: Obj = DEFINITION) -> explain.Explained:
    return explain.explain(definition, snapshot(raw))


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


def test_a_taint_that_the_definition_tolerates_is_none() -> None:
    raw = site()
    raw["nodes"][0]["spec"]["taints"] = [{"key": "team", "value": "a", "effect": "NoSchedule"}]
    (row,) = explained(raw, {**DEFINITION, "tolerations": [{"key": "team", "operator": "Equal", "value": "a"}]}).rows
    assert (row["state"], row["links"]["taints"]) == ("ok", "ok")


def test_a_cordon_that_the_driver_tolerates_keeps_pods_away() -> None:
    raw = site()
    raw["nodes"][0]["spec"].update(unschedulable=True)
    through = [{"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}]
    (row,) = explained(raw, {**DEFINITION, "tolerations": through}).rows
    assert (row["link"], row["next"]) == ("taints", "kubectl uncordon worker-1")


def test_uncordon_is_no_advice_where_another_taint_is_in_the_way() -> None:
    raw = site()
    cordoned_and_unloaded(raw)
    raw["nodes"][0]["spec"]["taints"].append({"key": "team", "value": "a", "effect": "NoSchedule"})
    raw["modules"][0]["spec"]["tolerations"] = [{"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}]
    (row,) = explained(raw).rows
    assert (row["link"], row["evidence"]["field"], row["evidence"]["value"]) == (
        "selector",
        "spec.taints",
        "team=a:NoSchedule",
    )


def test_a_tainted_node_may_have_hardware_when_that_is_tolerated() -> None:
    raw = site()
    other = node("worker-2")
    other["metadata"]["labels"], other["status"]["capacity"] = {}, {}
    other["spec"] = {"taints": [{"key": "team", "value": "a", "effect": "NoSchedule"}]}
    raw["nodes"].append(other)
    tolerant = {**DEFINITION, "tolerations": [{"key": "team", "operator": "Exists"}]}
    found = [[row["node"] for row in explained(raw, one).rows] for one in (DEFINITION, tolerant)]
    assert [sorted(names) for names in found] == [["worker-1"], ["worker-1", "worker-2"]]


def test_a_playbook_s_accelerator_has_no_custom_resource() -> None:
    raw = site()
    raw["customs"] = []
    assert explained(raw, {**DEFINITION, "managed_by": "playbook"}).ok
    no_module(raw)
    (row,) = explained(raw, {**DEFINITION, "managed_by": "playbook"}).rows
    assert (row["link"], row["next"]) == ("module", "ansible-playbook ecosystem_edge.accelerator.kmm -e @DEFINITION")


def test_kmm_s_own_plugin() -> None:
    definition = {**DEFINITION, "device_plugin": {**DEFINITION["device_plugin"], "deploy": "kmm"}}
    raw = site()
    raw["pods"][0]["metadata"]["labels"] = {_names.BY_KMM: "ptemplate"}
    assert explained(raw, definition).ok
    no_daemon_set(raw)
    (row,) = explained(raw, definition).rows
    assert row["evidence"]["object"] == "DaemonSet/ptemplate/of KMM"


def test_shared_devices_count_for_each_who_may_share_them() -> None:
    definition = {**DEFINITION, "device_plugin": {**DEFINITION["device_plugin"], "replicas": 3}}
    raw = site()
    (row,) = explained(raw, definition).rows
    assert (row["link"], row["expected"]) == ("capacity", "15 or more")
    for which in ("capacity", "allocatable"):
        raw["nodes"][0]["status"][which][RESOURCE] = "15"
    assert explained(raw, definition).ok


def test_suspects_are_the_plugins_that_may_answer_on_nodes_that_are_not_well() -> None:
    raw = site()
    assert explain.suspects(DEFINITION, snapshot(raw)) == []
    counts(raw, 5, 4)
    assert explain.suspects(DEFINITION, snapshot(raw)) == ["plugin-worker-1"]
    raw["pods"][0] = state(plugin(), "Running")
    assert explain.suspects(DEFINITION, snapshot(raw)) == ["plugin-worker-1"], "without a kubelet it is not ready"
    raw["pods"][0] = state(plugin(), "Pending")
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
