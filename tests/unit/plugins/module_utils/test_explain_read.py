# SPDX-License-Identifier: Apache-2.0
"""The snapshot, from an API server that answers as told: lists, and few of them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _explain_read, _names
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._cluster import Api, ClusterError
from explain_site import DEFINITION, NAMESPACE, PRESENT, RESOURCE, Obj, feature, node, site, user
from fake_api import FakeApi, Status, listing

NODES, PODS = "/api/v1/nodes", "/api/v1/pods"
HERE = f"/api/v1/namespaces/{NAMESPACE}/pods"
DEVICES = f"{HERE}/plugin-worker-1:9400/proxy/devices"
API = DEFINITION["operator"]["api"]
# kind -> group, version, plural, namespaced, part of the site
KINDS: dict[str, tuple[str, str, str, bool, str]] = {
    "NodeFeatureRule": ("nfd.openshift.io", "v1alpha1", "nodefeaturerules", True, "rules"),
    "NodeFeature": ("nfd.openshift.io", "v1alpha1", "nodefeatures", True, "features"),
    "Module": ("kmm.sigs.x-k8s.io", "v1beta1", "modules", True, "modules"),
    "ModuleImagesConfig": ("kmm.sigs.x-k8s.io", "v1beta1", "moduleimagesconfigs", True, "images"),
    "NodeModulesConfig": ("kmm.sigs.x-k8s.io", "v1beta1", "nodemodulesconfigs", False, "node_configs"),
    "DaemonSet": ("apps", "v1", "daemonsets", True, "daemon_sets"),
    API["kind"]: (API["group"], API["version"], API["plural"], True, "customs"),
}
EVERYWHERE = ("NodeFeatureRule", "NodeFeature", "NodeModulesConfig")


def path(kind: str) -> str:
    group, version, plural, _namespaced, _part = KINDS[kind]
    where = "" if kind in EVERYWHERE else f"/namespaces/{NAMESPACE}"
    return f"/apis/{group}/{version}{where}/{plural}"


def groups() -> list[Any]:
    return [
        {
            "metadata": {"name": group},
            "versions": [
                {
                    "version": version,
                    "resources": [
                        {
                            "resource": plural,
                            "responseKind": {"kind": kind},
                            "scope": "Namespaced" if namespaced else "Cluster",
                        }
                    ],
                }
            ],
        }
        for kind, (group, version, plural, namespaced, _part) in KINDS.items()
    ]


def serve(fake: FakeApi, raw: Obj) -> None:
    fake.on("/api", {"kind": "APIGroupDiscoveryList", "items": []})
    merged: dict[str, Any] = {}
    for group in groups():
        kept = merged.setdefault(group["metadata"]["name"], group)
        if kept is not group:
            kept["versions"][0]["resources"] += group["versions"][0]["resources"]
    fake.on("/apis", {"kind": "APIGroupDiscoveryList", "items": list(merged.values())})
    for kind, (*_rest, part) in KINDS.items():
        fake.on(path(kind), listing(*raw[part]))
    fake.on(NODES, listing(*raw["nodes"]))
    fake.on(HERE, listing(*raw["pods"]))
    fake.on(PODS, listing(*raw["users"]))
    devices = [{"id": str(n), "health": "Healthy" if n else "Unhealthy", "reason": "NoDriver"} for n in range(5)]
    fake.on(DEVICES, {"schema": 1, "registered": True, "devices": devices})


def test_a_cluster_where_all_is_well_takes_eleven_requests(fake: FakeApi, api: Api) -> None:
    serve(fake, site())
    found = _explain_read.read(api, DEFINITION)
    assert found.ok
    assert api.requests == 11
    assert path("NodeFeature") not in fake.paths(), "they are big, and every node has its label"
    assert DEVICES not in fake.paths()


def test_requests_do_not_grow_with_the_nodes(fake: FakeApi, api: Api) -> None:
    raw = site()
    raw["nodes"] = [node(f"worker-{number}") for number in range(300)]
    serve(fake, raw)
    found = _explain_read.read(api, DEFINITION)
    assert len(found.rows) == 300
    assert api.requests == 11


def test_a_plugin_is_asked_where_the_numbers_are_not_as_they_should_be(fake: FakeApi, api: Api) -> None:
    raw = site()
    raw["nodes"][0]["status"]["allocatable"][RESOURCE] = "4"
    serve(fake, raw)
    (row,) = _explain_read.read(api, DEFINITION).rows
    assert (row["link"], row["evidence"]["value"]) == ("device_nodes", "0: NoDriver")


def test_the_hardware_is_looked_up_where_a_label_is_missing(fake: FakeApi, api: Api) -> None:
    raw = site()
    bare = node("worker-2")
    bare["metadata"]["labels"] = {}
    bare["status"]["capacity"] = bare["status"]["allocatable"] = {}
    raw["nodes"].append(bare)
    other = feature("other-name")
    other["metadata"]["labels"] = {"nfd.node.kubernetes.io/node-name": "worker-2"}
    raw["features"] = [other, feature("worker-2", device="ffff")]
    serve(fake, raw)
    rows = _explain_read.read(api, DEFINITION).rows
    assert [(row["node"], row["link"]) for row in rows] == [("worker-1", None), ("worker-2", "label")]
    asked = next(query for where, query, _headers in fake.asked if where == path("NodeFeature"))
    assert int(asked["limit"]) <= 50


def test_holders_are_listed_when_a_pod_waits(fake: FakeApi, api: Api) -> None:
    raw = site()
    serve(fake, raw)
    running, waiting = user("holder", 5), user("mine", 1, on=None)

    def pods(query: Any) -> Any:
        return listing(running) if query["fieldSelector"] == "status.phase=Running" else listing(waiting)

    fake.on(PODS, pods)
    found = _explain_read.read(api, DEFINITION)
    assert [(one["pod"], one["link"]) for one in found.pods] == [("team/mine", "allocatable")]
    assert "team/holder (5)" in found.pods[0]["evidence"]["value"]


def test_one_pod(fake: FakeApi, api: Api) -> None:
    raw = site()
    raw["users"] = [user("holder", 5)]
    serve(fake, raw)
    fake.on("/api/v1/namespaces/team/pods/mine", user("mine", 1, on=None))
    found = _explain_read.read(api, DEFINITION, "team/mine")
    assert [(one["pod"], one["link"]) for one in found.pods] == [("team/mine", "allocatable")]


@pytest.mark.parametrize("title", ["mine", "/mine", "team/", "a/b/c", "team/gone"])
def test_a_pod_that_is_not_there(fake: FakeApi, api: Api, title: str) -> None:
    serve(fake, site())
    with pytest.raises(ClusterError, match=r"^pod: expected .* seen .*; next: kubectl"):
        _explain_read.read(api, DEFINITION, title)


def test_what_is_forbidden_is_on_record(fake: FakeApi, api: Api) -> None:
    serve(fake, site())
    fake.on(DEVICES, {"registered": True, "devices": [{"id": str(n), "health": "Healthy"} for n in range(5)]})
    fake.on(path("Module"), Status(403, "modules is forbidden"))
    (row,) = _explain_read.read(api, DEFINITION).rows
    assert (row["state"], row["link"]) == ("unknown", "module")
    assert "modules is forbidden" in row["evidence"]["value"]
    fake.on(NODES, Status(403, "nodes is forbidden"))
    with pytest.raises(ClusterError, match="nodes is forbidden"):
        _explain_read.read(api, DEFINITION)


def test_a_cluster_without_nfd_and_kmm(fake: FakeApi, api: Api) -> None:
    raw = site()
    del raw["nodes"][0]["metadata"]["labels"][PRESENT]
    del raw["nodes"][0]["metadata"]["labels"][_names.ready_label(DEFINITION)]
    raw["nodes"][0]["status"]["capacity"] = {}
    serve(fake, raw)
    fake.on("/apis", {"kind": "APIGroupDiscoveryList", "items": []})
    (row,) = _explain_read.read(api, DEFINITION).rows
    assert (row["link"], row["evidence"]["value"]) == (
        "label",
        f"no {PRESENT}=true; the API has no NodeFeatureRule",
    )
