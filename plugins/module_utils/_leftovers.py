# SPDX-License-Identifier: Apache-2.0
"""What a device plugin leaves behind: its resource on nodes, and pods that a kubelet rejected. PRIVATE.

A kubelet never removes a resource that a plugin once offered from its Node: five minutes after the plugin's end the
capacity is 0, and stays there. A pod that the kubelet had no device for is Failed, and stays until it is deleted.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _safe as safe
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._cluster import (
    Api,
    ClusterError,
    Json,
    Refused,
    pause,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._explain._pods import pod

NODES, PODS = "/api/v1/nodes", "/api/v1/pods"
PERIOD = 5.0  # seconds between two looks
# Seconds without the resource that prove that no kubelet brings it back. A kubelet reports every 10 s; one that is
# busy may be silent for 40 s before its node is called not ready.
QUIET = 45.0
GONE = (404, 409, 422)  # the node, or the key, has gone meanwhile

Wanted = t.Callable[[str], bool]


def every(_node: str) -> bool:
    return True


def capacity_of(node: Json, resource: str) -> t.Optional[t.Tuple[str, str]]:
    """Name and capacity of a node on which the resource is still written; None of any other."""
    capacity, allocatable = (safe.mapping(node, "status", key) for key in ("capacity", "allocatable"))
    if resource not in capacity and resource not in allocatable:
        return None
    return node["metadata"]["name"], str(capacity.get(resource, "0"))


def holders(api: Api, resource: str, **query: t.Any) -> t.Dict[str, str]:
    """Node -> capacity, for the nodes on which the resource is still written."""
    return dict(api.pages(NODES, keep=lambda node: capacity_of(node, resource), **query)[0])


def selectors_of_others(labels: t.Mapping[str, str]) -> t.List[str]:
    """Label selectors that together select, once, each node that these labels do not select all of."""
    pairs = list(labels.items())
    return [
        ",".join([*(f"{key}={value}" for key, value in pairs[:index]), f"{pairs[index][0]}!={pairs[index][1]}"])
        for index in range(len(pairs))
    ]


def rejected(api: Api, resource: str) -> t.List[Json]:
    """The pods of the whole cluster that a kubelet rejected for want of the resource's devices."""

    def keep(item: Json) -> t.Optional[Json]:
        made = pod(item)
        if not made.rejected or made.going or resource not in made.wants:
            return None
        return {
            "namespace": made.namespace,
            "name": made.name,
            "uid": safe.text(item, "metadata", "uid"),
            "node": made.node,
            "owner": made.owner or None,
            "reason": made.reason,
            "message": made.message,
        }

    found, _version = api.pages(PODS, keep=keep, fieldSelector="status.phase=Failed")
    return sorted(found, key=lambda one: (one["namespace"], one["name"]))


def delete_pod(api: Api, found: Json) -> None:
    """Deletes the very pod that was seen, not one that has its name by now."""
    path = f"/api/v1/namespaces/{found['namespace']}/pods/{found['name']}"
    try:
        api.delete(path, {"preconditions": {"uid": found["uid"]}} if found["uid"] else {})
    except Refused as error:
        if error.status not in GONE:
            raise


def remove(api: Api, name: str, resource: str) -> None:
    """Removes the key if the capacity is still 0: a plugin that comes back in between keeps its devices."""
    path = f"{NODES}/{name}"
    key = resource.replace("~", "~0").replace("/", "~1")
    try:
        status = api.get(path)["status"]
        operations = []
        for where in ("capacity", "allocatable"):
            if resource in (status.get(where) or {}):
                at = f"/status/{where}/{key}"
                operations += [{"op": "test", "path": at, "value": "0"}, {"op": "remove", "path": at}]
        api.json_patch(f"{path}/status", operations)
    except Refused as error:
        if error.status not in GONE:
            raise


def clear(api: Api, resource: str, timeout: float, wanted: Wanted = every) -> t.List[str]:
    """Waits for the kubelets to forget the resource, and removes it. wanted: from which nodes.

    The names of the nodes that had it. Raises ClusterError when it is still there at the end.
    """
    had: set[str] = set()
    answered = False
    start = quiet_since = time.monotonic()
    while True:
        now = time.monotonic()
        try:
            left = {name: number for name, number in holders(api, resource).items() if wanted(name)}
        except ClusterError as error:
            # A restart or an overload in these minutes is no reason to give up; one at the first word is.
            if not answered or not error.passing or now - start > timeout:
                raise
            quiet_since = now
            pause(PERIOD)
            continue
        answered = True
        had |= set(left)
        if left:
            quiet_since = now
        if not left and (not had or now - quiet_since >= QUIET):
            return sorted(had)
        if now - start > timeout:
            raise ClusterError(too_late(resource, left, timeout))
        for name, capacity in left.items():
            if capacity == "0":
                _try_remove(api, name, resource)
        pause(PERIOD)


def _try_remove(api: Api, name: str, resource: str) -> None:
    """What could not be done now is done in the next round."""
    try:
        remove(api, name, resource)
    except ClusterError as error:
        if not error.passing:
            raise


def too_late(resource: str, left: t.Mapping[str, str], timeout: float) -> str:
    seen = ", ".join(f"{name}: {capacity}" for name, capacity in sorted(left.items())) or "none, but only just"
    return (
        f"{resource} is still on nodes after {timeout:.0f} s: expected the kubelets to set its capacity to 0 five "
        f"minutes after the device plugin's end; seen capacity {seen}; next: see whether a device plugin still runs "
        "there, kubectl get pods -A -o wide, and whether the node is ready"
    )


__all__ = ("clear", "delete_pod", "every", "holders", "rejected", "remove", "selectors_of_others")
