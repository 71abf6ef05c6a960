# SPDX-License-Identifier: Apache-2.0
"""The loop that reads and waits, against an API server that answers as told."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _health, _health_read, _plugin_reports
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._cluster import Api, ClusterError
from fake_api import Cut, FakeApi, Status, Stream, listing, thing
from health_nodes import FIVE, LABEL, RESOURCE, devices, node, pod

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
    "tolerations": [],
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


def test_a_shared_device_counts_for_each_who_may_share_it(fake: FakeApi, reader: _health_read.Reader) -> None:
    reader.rules = reader.rules._replace(expected=10)
    fake.on(NODES, listing(node(10, 10)))
    page = {"registered": True, "replicas": 2, "devices": devices(*FIVE)}
    fake.on(DEVICES, page)
    (entry,), _elapsed = _health_read.wait(reader, "all", 0)
    assert (entry["verdict"], entry["healthy"], len(entry["devices"])) == ("ok", 10, 5)
    fake.on(DEVICES, {**page, "devices": devices(*FIVE[:4], "Unhealthy")})
    (entry,), _elapsed = _health_read.wait(reader, "all", 0)
    assert (entry["verdict"], entry["healthy"]) == ("degraded", 8)
    assert entry["reason"].startswith("2 turned unhealthy")


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


def test_a_thousand_that_hang_are_not_all_waited_for(
    fake: FakeApi, reader: _health_read.Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was not asked is judged by the node's numbers, and nothing is said of the plugin."""
    monkeypatch.setattr(_plugin_reports, "ALL_TIMEOUT", 0)
    fake.on(NODES, listing(*nodes(20, **{f"n{index}": 4 for index in range(20)})))
    fake.on(PODS, listing(*(pod(f"plugin-n{index}", on=f"n{index}") for index in range(20))))
    entries, _elapsed = _health_read.wait(reader, "suspect", 0)
    assert {(one["verdict"], one["reason"], one["healthy"]) for one in entries} == {
        ("degraded", "1 of 5 unhealthy", None)
    }
    assert reader.api.requests == 2


def test_nobody_is_asked_on_a_node_that_is_not_ready(fake: FakeApi, reader: _health_read.Reader) -> None:
    fake.on(NODES, listing(node(5, 5, ready="Unknown")))
    entries, _elapsed = _health_read.wait(reader, "suspect", 0)
    assert [one["verdict"] for one in entries] == ["node_not_ready"]
    assert DEVICES not in fake.paths()


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
