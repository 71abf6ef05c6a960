# SPDX-License-Identifier: Apache-2.0
"""device_plugin_cleanup against an API server of two lists: what goes, what stays, and what check mode only lists."""

from __future__ import annotations

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _leftovers
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._cluster import ClusterError, Refused
from ansible_collections.ecosystem_edge.accelerator.plugins.modules import device_plugin_cleanup as module

RESOURCE = "example.com/ptemplate"
PARAMS = {
    "resource": RESOURCE,
    "namespace": "pt",
    "plugin_labels": {"app": "plugin"},
    "wait": False,
    "timeout": 600,
}


def node(name, capacity):
    counts = {} if capacity is None else {RESOURCE: capacity}
    return {"metadata": {"name": name}, "status": {"capacity": dict(counts), "allocatable": dict(counts)}}


def pod(name, owned=True, reason="UnexpectedAdmissionError", resource=RESOURCE, **metadata):
    owner = [{"kind": "ReplicaSet", "name": "training", "controller": True}] if owned else []
    return {
        "metadata": {"name": name, "namespace": "team", "uid": f"uid-{name}", "ownerReferences": owner, **metadata},
        "spec": {"nodeName": "gone", "containers": [{"resources": {"limits": {resource: "1"}}}]},
        "status": {"phase": "Failed", "reason": reason, "message": "no healthy devices"},
    }


class Api:
    """`refuse` is what a change is answered with, if it is."""

    def __init__(self, refuse=None):
        self.nodes = {
            "served": node("served", "0"),  # its plugin has no device at the moment
            "gone": node("gone", "0"),
            "just-gone": node("just-gone", "5"),
            "never": node("never", None),
        }
        self.pods = [
            pod("owned"),
            pod("alone", owned=False),
            pod("evicted", reason="Evicted"),
            pod("other", resource="example.com/other"),
            pod("going", deletionTimestamp="2026"),
        ]
        self.refuse, self.changes, self.queries = refuse, [], []

    def pages(self, path, keep, **query):
        self.queries.append((path, query))
        plugin = {"metadata": {"name": "plugin"}, "spec": {"nodeName": "served"}, "status": {}}
        items = {
            "/api/v1/nodes": list(self.nodes.values()),
            "/api/v1/pods": self.pods,
            "/api/v1/namespaces/pt/pods": [plugin],
        }[path]
        return [kept for one in items if (kept := keep(one)) is not None], "1"

    def get(self, path):
        return self.nodes[path.rpartition("/")[2]]

    def json_patch(self, path, operations):
        if self.refuse:
            raise Refused("no", self.refuse, "")
        self.changes.append((path, [one["op"] for one in operations]))
        status = self.nodes[path.split("/")[4]]["status"]
        for one in operations:
            where = status[one["path"].split("/")[2]]
            assert where[RESOURCE] == one.get("value", "0")
            if one["op"] == "remove":
                del where[RESOURCE]

    def delete(self, path, options):
        if self.refuse:
            raise Refused("no", self.refuse, "")
        self.changes.append((path, options))


REMOVED = ("/api/v1/nodes/gone/status", ["test", "remove", "test", "remove"])
DELETED = ("/api/v1/namespaces/team/pods/owned", {"preconditions": {"uid": "uid-owned"}})


def test_what_is_left_of_a_plugin_goes_and_what_is_in_use_stays():
    api = Api()
    found = module.clean(api, PARAMS, check=False)
    assert api.changes == [DELETED, REMOVED]
    assert found["changed"]
    assert (found["nodes"], [one["name"] for one in found["pods"]]) == (["gone"], ["owned"])
    assert found["left"]["nodes"] == {"just-gone": "5"}
    assert [one["name"] for one in found["left"]["pods"]] == ["alone"]
    assert ("/api/v1/pods", {"fieldSelector": "status.phase=Failed"}) in api.queries


def test_check_mode_lists_the_same_and_changes_nothing():
    api = Api()
    found = module.clean(api, PARAMS, check=True)
    assert api.changes == []
    assert found == module.clean(Api(), PARAMS, check=False)
    assert module.clean(Api(), {**PARAMS, "wait": True}, check=True)["nodes"] == ["gone", "just-gone"]


def test_a_second_run_changes_nothing():
    api = Api()
    module.clean(api, PARAMS, check=False)
    api.pods, api.changes = api.pods[1:], []
    found = module.clean(api, PARAMS, check=False)
    assert (found["changed"], api.changes) == (False, [])


@pytest.mark.parametrize("status", [404, 409, 422])
def test_what_went_meanwhile_is_no_error(status):
    assert module.clean(Api(refuse=status), PARAMS, check=False)["nodes"] == ["gone"]


def test_a_refusal_is_one():
    with pytest.raises(ClusterError):
        module.clean(Api(refuse=403), PARAMS, check=False)


def test_it_waits_for_the_kubelet_to_forget(monkeypatch):
    api, now = Api(), [0.0]

    def pause(seconds):
        now[0] += seconds
        if now[0] >= 300:
            for counts in api.nodes["just-gone"]["status"].values():
                counts.update({RESOURCE: "0"} if RESOURCE in counts else {})

    monkeypatch.setattr(_leftovers, "pause", pause)
    monkeypatch.setattr(_leftovers.time, "monotonic", lambda: now[0])
    found = module.clean(api, {**PARAMS, "wait": True}, check=False)
    assert found["nodes"] == ["gone", "just-gone"]
    assert found["left"]["nodes"] == {}
    assert now[0] >= 300 + _leftovers.QUIET
    assert RESOURCE in api.nodes["served"]["status"]["capacity"]
