# SPDX-License-Identifier: Apache-2.0
"""What a plugin left, as requests: the very pod that was seen is deleted, pages keep what is wanted of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _leftovers
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._cluster import Api, Refused
from explain_site import RESOURCE, node, user
from fake_api import FakeApi, Status, listing

NODES, PODS = "/api/v1/nodes", "/api/v1/pods"


def failed(name: str, reason: str = "UnexpectedAdmissionError") -> Any:
    made = user(name, 1)
    made["metadata"]["uid"] = f"uid-{name}"
    made["status"] = {"phase": "Failed", "reason": reason, "message": "no device"}
    return made


def test_the_very_pod_that_was_seen_is_deleted(fake: FakeApi, api: Api) -> None:
    fake.on(PODS, listing(failed("b", f"OutOf{RESOURCE}"), failed("c", "Evicted"), failed("a")))
    found = _leftovers.rejected(api, RESOURCE)
    assert [(one["name"], one["owner"]) for one in found] == [
        ("a", "ReplicaSet/training"),
        ("b", "ReplicaSet/training"),
    ]
    fake.on("/api/v1/namespaces/team/pods/a", {"kind": "Status", "status": "Success"})
    _leftovers.delete_pod(api, found[0])
    method, body = fake.bodies[-1]
    assert (method, json.loads(body)) == ("DELETE", {"preconditions": {"uid": "uid-a"}})


@pytest.mark.parametrize(("status", "raises"), [(404, False), (409, False), (403, True)])
def test_a_pod_that_went_meanwhile(fake: FakeApi, api: Api, status: int, raises: bool) -> None:
    fake.on("/api/v1/namespaces/team/pods/a", Status(status))
    found = {"namespace": "team", "name": "a", "uid": "uid-a"}
    if raises:
        with pytest.raises(Refused):
            _leftovers.delete_pod(api, found)
    else:
        _leftovers.delete_pod(api, found)


def test_of_each_page_the_holders_are_kept(fake: FakeApi, api: Api) -> None:
    bare = node("bare")
    del bare["status"]["capacity"][RESOURCE], bare["status"]["allocatable"][RESOURCE]
    half = node("half")
    del half["status"]["capacity"][RESOURCE]
    fake.on(NODES, [listing(node("one"), bare, token="more"), listing(half)])
    assert _leftovers.holders(api, RESOURCE) == {"one": "5", "half": "0"}
    assert [query.get("continue") for _path, query, _headers in fake.asked] == [None, "more"]
