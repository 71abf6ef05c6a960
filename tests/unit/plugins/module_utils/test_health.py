# SPDX-License-Identifier: Apache-2.0
"""The verdict on a node, one row of the table a case; then the texts, and the loop that waits."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _health, _health_read, _plugin_reports
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._cluster import Api, ClusterError
from fake_api import Cut, FakeApi, Status, Stream, listing, thing

RESOURCE = "example.com/ptemplate"
LABEL = "kmm.node.kubernetes.io/pt.pt.ready"
RULES = _health.Rules(RESOURCE, "pt", 5, LABEL)
PLUGIN = _health.Plugin("plugin-x", True, "")


def node(capacity: int | None = 5, allocatable: int = 5, ready: str = "True", driver: bool = True) -> Any:
    status: dict[str, Any] = {"conditions": [{"type": "Ready", "status": ready}]}
    if capacity is not None:
        status |= {"capacity": {RESOURCE: str(capacity)}, "allocatable": {RESOURCE: str(allocatable)}}
    return thing("n1", metadata={"labels": {LABEL: ""} if driver else {}}, status=status)


def cordoned(**options: Any) -> Any:
    return node(**options) | {"spec": {"unschedulable": True}}


def devices(*health: str) -> list[Any]:
    return [
        {"id": str(n), "path": f"/dev/ptemplate-{n}", "health": word, "reason": f"{word}Reason", "since": "2026"}
        for n, word in enumerate(health)
    ]


def report(*health: str, registered: bool = True) -> _health.Report:
    return _health.Report(registered, devices(*health))


FIVE = ["Healthy"] * 5


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


def test_numbers_alone_are_enough_where_they_are_well() -> None:
    assert _health.judge(node(), None, None, RULES, looked=False).verdict == "ok"
    assert _health.judge(node(7, 7), None, None, RULES, looked=False).reason == "2 more than expected"
    for bad in (node(5, 4), node(4, 4), node(0, 0), node(None), node(driver=False), node(ready="Unknown")):
        assert not _health.well_by_numbers(bad, RULES)
        assert _health.judge(bad, None, None, RULES, looked=False) == _health.judge(bad, None, None, RULES)


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


def pod(name: str, on: str | None = "n1", ready: str = "True", **rest: Any) -> Any:
    conditions = [{"type": "Ready", "status": ready}]
    status = {"phase": "Running", "conditions": conditions, **rest.pop("status", {})}
    return thing(name, "pt", spec={"nodeName": on} if on else {}, status=status, **rest)


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


# The loop, against an API server that answers as told.

NODES, PODS = "/api/v1/nodes", "/api/v1/namespaces/pt/pods"
DEVICES = f"{PODS}/plugin-x:9400/proxy/devices"
PARAMS = {
    "resource": RESOURCE,
    "namespace": "pt",
    "nodes": {"a": "b"},
    "expected": 5,
    "expected_nodes": 1,
    "plugin_labels": {"app": "plugin"},
    "port": 9400,
    "ready_label": LABEL,
}


@pytest.fixture
def reader(fake: FakeApi, api: Api) -> _health_read.Reader:
    fake.on(PODS, listing(pod("plugin-x")))
    fake.on(DEVICES, {"schema": 1, "resource": RESOURCE, "registered": True, "devices": devices(*FIVE)})
    return _health_read.Reader(api, PARAMS)


@pytest.mark.parametrize(
    ("probe", "allocatable", "asked"),
    [("all", 5, 1), ("suspect", 5, 0), ("suspect", 4, 1), ("none", 4, 0)],
)
def test_who_is_asked(fake: FakeApi, reader: _health_read.Reader, probe: str, allocatable: int, asked: int) -> None:
    fake.on(NODES, listing(node(5, allocatable)))
    entries, _elapsed = _health_read.wait(reader, probe, 0)
    assert fake.paths().count(DEVICES) == asked
    assert entries[0]["healthy"] == (5 if asked else None)
    assert fake.asked[0][1]["labelSelector"] == "a=b"
    assert [query["labelSelector"] for path, query, _headers in fake.asked if path == PODS] == (
        [] if (probe, allocatable) == ("suspect", 5) else ["app=plugin"]
    ), "where the numbers are well nobody is looked for"


def nodes(number: int, **bad: int) -> list[Any]:
    """Nodes that are well, but for those that have so few allocatable."""
    names = [f"n{index}" for index in range(number)]
    return [{**node(5, bad.get(name, 5)), "metadata": {"name": name, "labels": {LABEL: ""}}} for name in names]


def test_pods_are_listed_only_on_nodes_that_are_not_well(fake: FakeApi, reader: _health_read.Reader) -> None:
    fake.on(NODES, listing(*nodes(50, n7=4)))
    fake.on(PODS, lambda query: listing(pod("plugin-x", on=query["fieldSelector"].partition("=")[2])))
    entries, _elapsed = _health_read.wait(reader, "suspect", 0)
    assert [one["node"] for one in entries if one["verdict"] != "ok"] == ["n7"]
    assert [query["fieldSelector"] for path, query, _headers in fake.asked if path == PODS] == ["spec.nodeName=n7"]
    assert reader.api.requests == 3


def test_many_suspects_are_looked_up_in_one_list(fake: FakeApi, reader: _health_read.Reader) -> None:
    fake.on(NODES, listing(*nodes(50, **{f"n{index}": 0 for index in range(20)})))
    fake.on(PODS, listing())
    entries, _elapsed = _health_read.wait(reader, "none", 0)
    assert sum(one["verdict"] == "stale" for one in entries) == 20
    assert fake.paths().count(PODS) == 1


def test_a_plugin_that_does_not_answer_is_failing(fake: FakeApi, reader: _health_read.Reader) -> None:
    fake.on(NODES, listing(node()))
    fake.on(DEVICES, Status(503, "connection refused"))
    entries, _elapsed = _health_read.wait(reader, "all", 0)
    assert entries[0]["verdict"] == "plugin_failing"
    assert entries[0]["healthy"] is None
    assert "connection refused" in entries[0]["reason"]


@pytest.mark.parametrize(
    "between",
    [
        Stream({"type": "MODIFIED", "object": node()}),
        Stream(),
        Stream({"type": "ERROR", "object": {"code": 410}}),
        Cut(),
        Status(503),
    ],
    ids=["event", "ended", "expired", "cut", "unavailable"],
)
def test_it_looks_again_until_all_is_well(fake: FakeApi, reader: _health_read.Reader, between: Any) -> None:
    fake.on(NODES, [listing(node(None)), between, listing(node())])
    entries, _elapsed = _health_read.wait(reader, "all", 30)
    assert entries[0]["verdict"] == "ok"
    assert fake.paths().count(DEVICES) == 1, "the plugin is asked at the end only"


def test_trouble_before_the_first_node_is_survived(fake: FakeApi, reader: _health_read.Reader) -> None:
    """An answer without any node is an answer."""
    fake.on(NODES, [listing(), Status(503), listing(node())])
    assert _health_read.wait(reader, "none", 30)[0][0]["verdict"] == "ok"


def test_plugins_that_hang_do_not_wait_for_one_another(fake: FakeApi, reader: _health_read.Reader) -> None:
    names = [f"n{number}" for number in range(_plugin_reports.ASKED_AT_ONCE)]
    fake.on(NODES, listing(*({**node(), "metadata": {**node()["metadata"], "name": name}} for name in names)))
    fake.on(PODS, listing(*(pod(f"plugin-{name}", on=name) for name in names)))
    together = threading.Barrier(len(names), timeout=20)

    def hang(_query: Any) -> Any:
        together.wait()
        return {"registered": True, "devices": devices(*FIVE)}

    for name in names:
        fake.on(f"{PODS}/plugin-{name}:9400/proxy/devices", hang)
    entries, _elapsed = _health_read.wait(reader, "all", 0)
    assert [(one["node"], one["verdict"]) for one in entries] == [(name, "ok") for name in names]
    assert reader.api.requests == 2 + len(names)


def test_devices_that_are_not_well_by_the_plugin_s_word_are_waited_for(
    fake: FakeApi, reader: _health_read.Reader
) -> None:
    fake.on(NODES, lambda query: Stream() if "watch" in query else listing(node()))
    bad = {"registered": True, "devices": devices(*FIVE[:4], "Unhealthy")}
    fake.on(DEVICES, [bad, {"registered": True, "devices": devices(*FIVE)}])
    entries, _elapsed = _health_read.wait(reader, "all", 30)
    assert entries[0]["verdict"] == "ok"
    assert fake.paths().count(DEVICES) == 2


def test_the_time_over_asks_the_plugins_why(fake: FakeApi, reader: _health_read.Reader) -> None:
    fake.on(NODES, lambda query: Stream() if "watch" in query else listing(node(5, 4)))
    fake.on(DEVICES, {"registered": True, "devices": devices(*FIVE[:4], "Unhealthy")})
    entries, _elapsed = _health_read.wait(reader, "suspect", 0.2)
    assert entries[0]["reason"] == "1 of 5 unhealthy, 4: UnhealthyReason"


def failed(name: str, **status: Any) -> Any:
    limits = {RESOURCE: "1"}
    said = {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "no healthy devices", **status}
    return thing(name, "team", spec={"nodeName": "n1", "containers": [{"resources": {"limits": limits}}]}, status=said)


def test_what_a_plugin_left_is_found_on_any_node(fake: FakeApi, reader: _health_read.Reader) -> None:
    other = {**node(0, 0), "metadata": {"name": "retired"}}
    plain = {**node(None), "metadata": {"name": "plain"}}
    fake.on(NODES, lambda query: listing(node(5, 0) if query["labelSelector"] == "a=b" else other, plain))
    fake.on(PODS, listing())
    fake.on("/api/v1/pods", listing(failed("mine"), failed("evicted", reason="Evicted")))
    entries, _elapsed = _health_read.wait(reader, "suspect", 0)
    stale, rejected = reader.leftovers(entries)
    assert stale == [{"node": "n1", "capacity": "5"}, {"node": "retired", "capacity": "0"}]
    assert [(one["name"], one["node"], one["owner"]) for one in rejected or ()] == [("mine", "n1", None)]
    assert _health.leftovers(stale, rejected, RESOURCE).splitlines()[1:] == [
        f"stale: n1 has capacity 5 of {RESOURCE} and no device plugin",
        f"stale: retired has capacity 0 of {RESOURCE} and no device plugin",
        "rejected: team/mine on n1: no healthy devices",
    ]
    assert {query["labelSelector"] for path, query, _headers in fake.asked if path == NODES} == {"a=b", "a!=b"}


def test_who_may_not_list_all_pods_gets_no_rejected_ones(fake: FakeApi, reader: _health_read.Reader) -> None:
    fake.on(NODES, listing())
    fake.on("/api/v1/pods", Status(403, "pods is forbidden"))
    assert reader.leftovers([]) == ([], None)
    fake.on("/api/v1/pods", Status(503))
    assert reader.leftovers([]) == ([], None)
    fake.on("/api/v1/pods", Status(400))
    with pytest.raises(ClusterError):
        reader.leftovers([])
    assert _health.leftovers([], None, RESOURCE) == ""
    assert _health.leftovers([], [dict.fromkeys(("namespace", "name", "node", "message"), "x")] * 23, "r").endswith(
        "rejected: and 3 more"
    )


def test_the_selectors_of_all_other_nodes_meet_in_none() -> None:
    selectors = _health_read.leftovers.selectors_of_others({"a": "1", "b": "2", "c": "3"})
    assert selectors == ["a!=1", "a=1,b!=2", "a=1,b=2,c!=3"]
