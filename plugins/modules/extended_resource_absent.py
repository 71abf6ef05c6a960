#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Ansible module: take an extended resource off the nodes after its device plugin has gone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: extended_resource_absent
short_description: Takes an extended resource off the nodes after its device plugin has gone
version_added: 0.1.0
description:
  - A kubelet never removes a resource that a device plugin once offered from its Node. It forgets the plugin five
    minutes after its end; then the capacity is 0 at the latest. A removal that comes before is undone.
  - Waits for that, removes the key from C(status.capacity) and C(status.allocatable), and makes sure that it stays
    away.
author:
  - The ecosystem_edge.accelerator maintainers (@ecosystem-edge)
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
requirements:
  - python >= 3.9
  - kubernetes >= 24.2.0
  - PyYAML >= 5.4
attributes:
  check_mode:
    description: Says in check mode whether a node has the resource, without waiting.
    support: full
  diff_mode:
    description: Reports differences in diff mode.
    support: none
options:
  resource:
    description: The extended resource, as pods ask for it.
    type: str
    required: true
  timeout:
    description: Seconds after which the module fails. Less than the kubelet's five minutes is of little use.
    type: int
    default: 600
"""

EXAMPLES = r"""
- name: Take the resource off the nodes
  ecosystem_edge.accelerator.extended_resource_absent:
    resource: example.com/ptemplate
"""

RETURN = r"""
nodes:
  description: The nodes that had the resource.
  returned: success
  type: list
  elements: str
requests:
  description: How many requests the API server got.
  returned: success
  type: int
"""

import time
import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._cluster import (
    Api,
    ClusterError,
    Refused,
    cluster_module,
    connect,
    pause,
)

Json = t.Dict[str, t.Any]

PERIOD = 5.0  # seconds between two looks
# Seconds without the resource that prove that no kubelet brings it back. A kubelet reports every 10 s; one that is
# busy may be silent for 40 s before its node is called not ready.
QUIET = 45.0
GONE = (404, 409, 422)  # the node, or the key, has gone meanwhile


def holders(nodes: t.Iterable[Json], resource: str) -> t.Dict[str, str]:
    """Node -> capacity, for the nodes on which the resource is still written."""
    found = {}
    for node in nodes:
        capacity, allocatable = (node["status"].get(key) or {} for key in ("capacity", "allocatable"))
        if resource in capacity or resource in allocatable:
            found[node["metadata"]["name"]] = capacity.get(resource, "0")
    return found


def remove(api: Api, name: str, resource: str) -> None:
    """Removes the key if the capacity is still 0: a plugin that comes back in between keeps its devices."""
    path = f"/api/v1/nodes/{name}"
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


def clear(api: Api, resource: str, timeout: float) -> t.List[str]:
    """The names of the nodes that had it. Raises ClusterError when it is still there at the end."""
    had: set[str] = set()
    answered = False
    start = quiet_since = time.monotonic()
    while True:
        now = time.monotonic()
        try:
            left = holders(api.pages("/api/v1/nodes")[0], resource)
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


def run(module: t.Any) -> None:
    api, resource = connect(module), module.params["resource"]
    if module.check_mode:
        nodes = sorted(holders(api.pages("/api/v1/nodes")[0], resource))
    else:
        nodes = clear(api, resource, module.params["timeout"])
    module.exit_json(changed=bool(nodes), nodes=nodes, requests=api.requests)


def main() -> None:
    module = cluster_module({"resource": {"type": "str", "required": True}, "timeout": {"type": "int", "default": 600}})
    try:
        run(module)
    except ClusterError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
