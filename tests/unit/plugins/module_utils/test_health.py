# SPDX-License-Identifier: Apache-2.0
"""The verdict on a node, one row of the table a case; then the texts."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _health
from health_nodes import FIVE, LABEL, PLUGIN, RESOURCE, RULES, cordoned, devices, node, pod, report


@pytest.mark.parametrize(
    ("node", "plugin", "report", "verdict", "reason"),
    [
        (node(), PLUGIN, None, "ok", ""),
        (node(), PLUGIN, report(*FIVE), "ok", ""),
        (node(7, 7), PLUGIN, None, "ok", "2 more than expected"),
        (node(3, 3), PLUGIN, None, "degraded", "2 of 5 devices missing"),
        (node(5, 4), PLUGIN, None, "degraded", "1 of 5 unhealthy"),
        (
            node(5, 4),
            PLUGIN,
            report(*FIVE[:4], "Unhealthy"),
            "degraded",
            "1 of 5 unhealthy, 4: UnhealthyReason",
        ),
        (
            node(5, 5),
            PLUGIN,
            report(*FIVE[:4], "Unhealthy"),
            "degraded",
            "1 turned unhealthy, the node's numbers will follow, 4: UnhealthyReason",
        ),
        (node(5, 0), PLUGIN, None, "unhealthy", "5 of 5 unhealthy"),
        (node(None), PLUGIN, None, "missing", "the kubelet advertises no device"),
        (node(0, 0), PLUGIN, report(), "missing", "plugin-x finds no device"),
        (node(0, 0), PLUGIN, report(*FIVE), "missing", "plugin-x has 5, the kubelet advertises none yet"),
        (node(0, 0), PLUGIN, report(*FIVE, registered=False), "unregistered", "plugin-x is not registered"),
        (node(), PLUGIN, _health.Report(False, [], "no answer"), "plugin_failing", "no answer"),
        (node(None), None, None, "no_plugin", "no device plugin runs here"),
        (node(5, 0), None, None, "stale", "no device plugin runs here; the advertised 5 are left from before"),
        (
            node(None),
            _health.Plugin("p", False, "ImagePullBackOff: no such image"),
            None,
            "plugin_failing",
            "p is not ready: ImagePullBackOff: no such image",
        ),
        (node(None, driver=False), None, None, "no_driver", f"the driver's module is not loaded: no label {LABEL}"),
        (cordoned(capacity=None, driver=False), None, None, "unschedulable", "cordoned or tainted"),
        (cordoned(capacity=5, allocatable=0, driver=False), None, None, "unschedulable", "cordoned or tainted"),
        (cordoned(), PLUGIN, None, "ok", ""),  # not drained: it goes on
        (node(None, ready="Unknown", driver=False), None, None, "node_not_ready", "the kubelet does not report"),
    ],
)
def test_verdict(
    node: Any, plugin: _health.Plugin | None, report: _health.Report | None, verdict: str, reason: str
) -> None:
    found = _health.judge(node, plugin, report, RULES)
    assert found.verdict == verdict
    assert found.reason.startswith(reason)
    assert bool(found.reason) == bool(reason)


def test_without_an_expected_number_one_device_is_enough() -> None:
    rules = RULES._replace(expected=None)
    assert _health.judge(node(1, 1), PLUGIN, None, rules).verdict == "ok"
    assert _health.judge(node(0, 0), PLUGIN, None, rules).verdict == "missing"


def test_what_the_plugin_saw_of_a_device_is_told() -> None:
    sick = _health.report_of({"registered": True, "devices": devices(*FIVE[:4], "Unhealthy")}, "plugin-x")
    sick.devices[4]["evidence"] = "health: bad"
    assert _health.judge(node(5, 4), PLUGIN, sick, RULES).reason == "1 of 5 unhealthy, 4: UnhealthyReason (health: bad)"


def test_who_has_a_device_that_died_is_told() -> None:
    users = [{"namespace": "team", "name": f"job-{number}", "container": "c"} for number in range(5)]
    (device,) = devices("Unhealthy")
    assert _health.told({**device, "pods": users[:1]}) == "0: UnhealthyReason, used by team/job-0"
    assert _health.told({**device, "pods": users}).endswith("used by team/job-0, team/job-1, team/job-2")
    assert _health.told({**device, "pods": "odd"}) == "0: UnhealthyReason"


def test_numbers_alone_are_enough_where_they_are_well() -> None:
    assert _health.judge(node(), None, None, RULES, looked=False).verdict == "ok"
    assert _health.judge(node(7, 7), None, None, RULES, looked=False).reason == "2 more than expected"
    for bad in (node(5, 4), node(4, 4), node(0, 0), node(None), node(driver=False), node(ready="Unknown")):
        assert not _health.well_by_numbers(bad, RULES)
        assert _health.judge(bad, None, None, RULES, looked=False) == _health.judge(bad, None, None, RULES)


def test_a_tainted_node_that_is_tolerated_should_have_devices() -> None:
    tainted = node(capacity=None, driver=False) | {"spec": {"taints": [{"key": "team", "effect": "NoSchedule"}]}}
    tolerant = RULES._replace(tolerations=[{"key": "team", "operator": "Exists"}])
    assert [_health.judge(tainted, None, None, rules).verdict for rules in (RULES, tolerant)] == [
        "unschedulable",
        "no_driver",
    ]


def test_a_slim_node_is_judged_as_the_whole() -> None:
    for whole in (node(), node(5, 4), node(None), node(driver=False), node(ready="Unknown"), cordoned(capacity=None)):
        whole["metadata"]["annotations"] = {"big": "x" * 5000}
        small = _health.slim(whole, RULES)
        assert len(str(small)) < 500
        assert _health.entry(small, PLUGIN, None, RULES) == _health.entry(whole, PLUGIN, None, RULES)


def test_without_a_ready_label_the_driver_is_not_judged() -> None:
    assert _health.judge(node(driver=False), PLUGIN, None, RULES._replace(ready_label=None)).verdict == "ok"


@pytest.mark.parametrize(
    ("verdicts", "expected_nodes", "well"),
    [
        ([], None, False),
        ([], 0, False),
        (["ok"], None, True),
        (["ok"], 2, False),
        (["ok", "ok"], 2, True),
        (["ok", "degraded"], 1, False),
        (["ok", "unschedulable"], 1, True),
        (["ok", "unschedulable"], 2, False),
        (["unschedulable"], None, False),
        (["ok", "node_not_ready"], None, False),
        (["ok", "node_not_ready"], 1, True),  # it was not counted when it was asked how many there should be
        (["ok", "node_not_ready"], 2, False),
    ],
)
def test_no_node_is_never_well(verdicts: list[str], expected_nodes: int | None, well: bool) -> None:
    assert _health.well([{"verdict": verdict} for verdict in verdicts], expected_nodes) is well


def test_the_ready_pod_speaks_for_the_node() -> None:
    going = pod("going", metadata={"deletionTimestamp": "2026"})
    for pods in ([going, pod("new")], [pod("new"), going]):
        pairs = [pair for one in [*pods, pod("pending", on=None)] if (pair := _health.placed(one))]
        assert _health.by_node(pairs) == {"n1": _health.Plugin("new", True, "phase Running")}


@pytest.mark.parametrize(
    ("containers", "trouble"),
    [
        ([{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such"}}}], "ImagePullBackOff: no such"),
        (
            [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"message": "died"}}}],
            "CrashLoopBackOff: died",
        ),
        ([{"state": {"terminated": {"reason": "OOMKilled"}}}], "OOMKilled"),
        ([{"state": {"running": {}}}], "phase Running"),
    ],
)
def test_why_a_pod_is_not_ready(containers: Any, trouble: str) -> None:
    assert _health.plugin_of(pod("p", ready="False", status={"containerStatuses": containers})).trouble == trouble


def test_the_table_is_aligned() -> None:
    good = _health.entry(node(), PLUGIN, report(*FIVE), RULES)
    bad = {**_health.entry(node(None), None, None, RULES._replace(expected=None)), "node": "worker-22"}
    assert _health.table([good, bad]).splitlines() == [
        "NODE       EXPECTED  ADVERTISED  ALLOCATABLE  HEALTHY  VERDICT    REASON",
        "n1                5           5            5        5  ok",
        "worker-22        1+           0            0        -  no_plugin  no device plugin runs here",
    ]


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([], ["seen 0 of 0 nodes well", "next: kubectl get nodes -l 'a=b'"]),
        (
            [_health.entry(node(None, driver=False), None, None, RULES)],
            ["n1 0 allocatable, no_driver: the driver's module", "next: kubectl -n pt get modules.kmm.sigs.x-k8s.io"],
        ),
        (
            [_health.entry(node(5, 4), PLUGIN, report(*FIVE[:4], "Unhealthy"), RULES)],
            ["4: UnhealthyReason", "next: kubectl -n pt logs plugin-x"],
        ),
        ([_health.entry(node(ready="False"), None, None, RULES)], ["next: kubectl describe node n1"]),
        ([_health.entry(node(None), None, None, RULES)], ["next: kubectl -n pt get daemonsets,pods"]),
    ],
)
def test_the_message_says_where_to_look(entries: list[Any], words: list[str]) -> None:
    message = _health.failure(entries, RULES, 2, "a=b", 30)
    start = (
        f"{RESOURCE}: not well after 30 s; expected 5 healthy devices on each of 2 or more nodes with labels a=b; seen"
    )
    assert message.startswith(start)
    assert [word for word in words if word not in message] == []
