# SPDX-License-Identifier: Apache-2.0
"""Why a pod does not start, one reason a case; and nothing that an API server may send breaks the explanation."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _explain as explain
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _health
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._health import report_of
from explain_site import DEFINITION, RESOURCE, Obj, node, pod, site, snapshot, state, user
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

TITLE = "team/mine"


def why(mine: Obj, raw: Obj | None = None) -> Obj:
    """The one pod that is asked about."""
    found = explain.explain(DEFINITION, snapshot(raw or site()), [explain.pod(mine)])
    assert found.ok == (found.pods[0]["state"] == "ok" and all(row["state"] == "ok" for row in found.rows))
    return found.pods[0]


def waiting(devices: int = 2, **spec: Any) -> Obj:
    made = user("mine", devices, on=None)
    made["spec"] |= spec
    return made


def affinity(*expressions: Obj) -> Obj:
    terms = [{"matchExpressions": list(expressions)}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    return {"nodeAffinity": required}


def tainted() -> Obj:
    raw = site()
    raw["nodes"][0]["spec"]["taints"] = [{"key": "team", "value": "a", "effect": "NoSchedule"}]
    return raw


def held() -> Obj:
    raw = site()
    raw["users"] = [user("one", 3), user("two", 1), user("elsewhere", 5, on="other"), waiting()]
    return raw


def nothing_offered() -> Obj:
    raw = site()
    raw["nodes"][0]["status"]["allocatable"][RESOURCE] = "0"
    raw["pods"] = raw["pods"][1:]
    return raw


def misspelt() -> Obj:
    made = user("mine", 1, on=None)
    made["spec"]["containers"][0]["resources"] = {"limits": {"example.com/ptemplates": "1"}}
    return made


def rejected(owned: bool = True) -> Obj:
    made = user("mine", 2)
    message = "Allocate failed due to requested number of devices unavailable"
    made["status"] = {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": message}
    if not owned:
        del made["metadata"]["ownerReferences"]
    return made


PULL = {"reason": "ImagePullBackOff", "message": "Back-off pulling image registry.example/x:1"}
CRASH = {"reason": "CrashLoopBackOff", "message": "back-off 40s"}
CONFIG = {"reason": "CreateContainerConfigError", "message": 'secret "token" not found'}


@pytest.mark.parametrize(
    ("mine", "raw", "link", "seen", "command"),
    [
        (misspelt(), None, "capacity", "no node has it", "describe pod mine"),
        (waiting(), nothing_offered(), "plugin", "worker-1 breaks at plugin", "describe daemonset"),
        (
            waiting(2),
            held(),
            "allocatable",
            "2 wanted, 1 free on worker-1; held by team/one (3), team/two (1)",
            "get pods",
        ),
        (waiting(9), None, "allocatable", "9", "describe pod mine"),
        (waiting(nodeSelector={"rack": "7"}), None, "selector", "rack=7", "get node worker-1 --show-labels"),
        (
            waiting(affinity=affinity({"key": "rack", "operator": "In", "values": ["7"]})),
            None,
            "selector",
            "node affinity",
            "get node worker-1 --show-labels",
        ),
        (waiting(), tainted(), "taints", "worker-1: team=a:NoSchedule", "describe node worker-1"),
        (rejected(), None, "pod", "UnexpectedAdmissionError: Allocate failed", "-n team delete pod mine"),
        (state(user("mine", 1), "Pending", waiting=PULL), None, "pod", "ImagePullBackOff", "describe pod mine"),
        (state(user("mine", 1), "Running", waiting=CRASH), None, "pod", "CrashLoopBackOff", "logs mine"),
        (state(user("mine", 1), "Pending", waiting=CONFIG), None, "pod", 'secret "token"', "describe pod mine"),
        (
            state(user("mine", 1), "Failed", terminated={"reason": "OOMKilled"}),
            None,
            "pod",
            "OOMKilled",
            "describe pod",
        ),
        (waiting(schedulingGates=[{"name": "example.com/quota"}]), None, "pod", "example.com/quota", "describe pod"),
        (waiting(), None, "pod", "0/3 nodes: Insufficient", "describe pod mine"),
        ({**waiting(), "spec": {"containers": [{"name": "c"}]}}, None, "pod", "no device", "describe pod mine"),
    ],
)
def test_why_a_pod_does_not_start(mine: Obj, raw: Obj | None, link: str, seen: str, command: str) -> None:
    found = why(mine, raw)
    assert (found["pod"], found["state"], found["link"]) == (TITLE, "broken", link)
    assert seen in found["evidence"]["value"]
    assert command in found["next"]
    assert found["expected"]
    assert found["fix"]


def test_a_pod_that_runs_is_well() -> None:
    assert why(user("mine", 1))["state"] == "ok"


def test_a_pod_that_is_only_starting_is_unknown() -> None:
    starting = state(user("mine", 1), "Pending", waiting={})
    assert why(starting)["state"] == "unknown"


def test_who_makes_a_rejected_pod_anew() -> None:
    assert "ReplicaSet/training makes a new one" in why(rejected())["fix"]
    assert "no controller does" in why(rejected(owned=False))["fix"]


def test_both_of_the_kubelet_s_words_for_no_device_are_known() -> None:
    out_of = rejected()
    out_of["status"]["reason"] = f"OutOf{RESOURCE}"
    assert "delete pod mine" in why(out_of)["next"]
    out_of["status"]["reason"] = "OutOfcpu"
    assert "delete pod mine" not in why(out_of)["next"]


def test_the_names_that_nodes_do_offer_are_told() -> None:
    assert why(misspelt())["expected"] == f"what nodes offer: {RESOURCE}"


@pytest.mark.parametrize(
    ("expression", "allows"),
    [
        ({"operator": "In", "values": ["worker-1"]}, True),
        ({"operator": "NotIn", "values": ["worker-1"]}, False),
        ({"operator": "Exists"}, True),
        ({"operator": "DoesNotExist"}, False),
        ({"operator": "Gt", "values": ["1"]}, False),
        ({"operator": "Odd"}, False),
    ],
)
def test_affinity(expression: Obj, allows: bool) -> None:
    found = why(waiting(affinity=affinity({"key": "kubernetes.io/hostname", **expression})))
    assert (found["link"] != "selector") == allows


def test_a_toleration_opens_the_node() -> None:
    for toleration in (
        {"operator": "Exists"},
        {"key": "team", "value": "a"},
        {"key": "team", "operator": "Exists", "effect": "NoSchedule"},
    ):
        assert why(waiting(tolerations=[toleration]), tainted())["link"] == "pod"
    for toleration in ({"key": "team", "value": "b"}, {"key": "team", "operator": "Exists", "effect": "NoExecute"}, {}):
        assert why(waiting(tolerations=[toleration]), tainted())["link"] == "taints"


def test_devices_of_init_containers_are_used_again() -> None:
    made = waiting(2)
    made["spec"]["initContainers"] = [{"resources": {"requests": {RESOURCE: "4"}}}]
    assert explain.pod(made).wants == {RESOURCE: 4}


def test_a_waiting_pod_is_explained_without_being_asked_for() -> None:
    raw = held()
    found = explain.explain(DEFINITION, snapshot(raw))
    assert [(one["pod"], one["link"]) for one in found.pods] == [(TITLE, "allocatable")]
    assert "Pod/team/mine" in explain.table(found.rows, found.pods)


def test_the_pods_of_a_controller_are_explained_by_one_of_them() -> None:
    raw = held()
    for number in range(50):
        raw["users"].append({**waiting(), "metadata": {**waiting()["metadata"], "name": f"mine-{number}"}})
    alone = waiting()
    alone["metadata"] = {"name": "alone", "namespace": "team"}
    raw["users"].append(alone)
    found = explain.explain(DEFINITION, snapshot(raw))
    assert [one["pod"] for one in found.pods] == [TITLE, "team/alone"]


def test_an_open_node_is_found_beside_others() -> None:
    raw = tainted()
    raw["nodes"] = [*(raw["nodes"][0] | {"metadata": {"name": f"n{i}", "labels": {}}} for i in range(9)), node("free")]
    assert why(waiting(), raw)["link"] == "pod"
    raw["nodes"].pop()
    assert "and 4 more nodes" in why(waiting(), raw)["evidence"]["value"]


# Anything at all in the place of anything: objects of custom kinds are as odd as who wrote them.

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)
PARTS = [
    "nodes",
    "features",
    "rules",
    "customs",
    "modules",
    "images",
    "node_configs",
    "daemon_sets",
    "pods",
    "users",
]
FUZZ = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inner for place in places(one, (*path, key)))]


def put(value: Any, path: tuple[Any, ...], new: Any) -> None:
    for key in path[:-1]:
        value = value[key]
    if new is ...:
        del value[path[-1]]
    else:
        value[path[-1]] = new


def check(raw: Obj, report: Any) -> None:
    raw["reports"] = {"plugin-worker-1": report_of(report, "plugin-worker-1")}
    found = explain.explain(DEFINITION, snapshot(raw))
    assert all(row["state"] in ("ok", "broken", "unknown", "absent") for row in found.rows)
    assert all(row["next"] and row["fix"] for row in found.rows if row["state"] == "broken")
    assert explain.table(found.rows, found.pods)
    for one in raw["users"]:
        explain.explain(DEFINITION, snapshot(raw), [explain.pod(one)])


@FUZZ
@given(st.data())
def test_no_odd_or_missing_field_breaks_it(data: st.DataObject) -> None:
    raw: Obj = site()
    raw["users"] = [user("one", 3), waiting(2, affinity=affinity({"key": "a", "operator": "In", "values": ["b"]}))]
    raw["pods"].append(pod("ptemplate-worker", **{"kmm.node.kubernetes.io/worker-action": "Load"}))
    for _change in range(data.draw(st.integers(1, 6))):
        where = [path for part in PARTS for path in places(raw[part], (part,)) if len(path) > 1]
        put(raw, data.draw(st.sampled_from(where)), data.draw(st.just(...) | JSON))
    check(copy.deepcopy(raw), data.draw(JSON))


@FUZZ
@given(st.fixed_dictionaries({part: st.lists(JSON, max_size=3) for part in PARTS}), JSON)
def test_no_list_of_anything_breaks_it(parts: Obj, report: Any) -> None:
    check({**site(), **parts}, report)


@FUZZ
@given(JSON)
def test_only_a_whole_report_is_one(answer: Any) -> None:
    """What is no report must not look like one without devices."""
    found = report_of(answer, "plugin")
    assert found.error or isinstance(answer["devices"], list)
    rules = _health.Rules(RESOURCE, "ptemplate", 5)
    verdict = _health.judge(node(), _health.Plugin("plugin", True, ""), found, rules).verdict
    assert verdict == "plugin_failing" if found.error else verdict != "ok"


REPORTS = st.fixed_dictionaries(
    {
        "registered": st.booleans(),
        "devices": st.lists(
            st.fixed_dictionaries({"id": st.text(max_size=3), "health": st.sampled_from(["Healthy", "Unhealthy", ""])}),
            max_size=6,
        ),
    }
)


@FUZZ
@given(REPORTS)
def test_only_five_healthy_devices_of_a_registered_plugin_are_well(answer: Any) -> None:
    rules = _health.Rules(RESOURCE, "ptemplate", 5)
    report = report_of(answer, "plugin")
    well = answer["registered"] and [one["health"] for one in answer["devices"]].count("Healthy") >= 5
    sick = any(one["health"] != "Healthy" for one in answer["devices"])
    verdict = _health.judge(node(), _health.Plugin("plugin", True, ""), report, rules).verdict
    assert (verdict == "ok") == (well and not sick)
