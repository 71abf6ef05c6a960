#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Ansible module: clear away what a device plugin left behind."""

from __future__ import annotations

DOCUMENTATION = r"""
module: device_plugin_cleanup
short_description: Clears away the resource and the rejected pods that a device plugin left behind
version_added: 0.2.0
description:
  - Deletes the pods that a kubelet rejected for want of devices (UnexpectedAdmissionError, OutOf and the resource), as
    it does after a restart of the node or the kubelet, if a controller makes new ones. Others are named in RV(left) and
    not touched.
  - Takes the extended resource off nodes on which no device plugin runs, where the kubelet has set its capacity to 0.
    Where it has not yet, which takes five minutes from the plugin's end, O(wait) waits for it.
  - A node with a device plugin, whatever its state, keeps the resource. To take it off all nodes, as in a teardown, use
    M(ecosystem_edge.accelerator.extended_resource_absent).
author:
  - The ecosystem_edge.accelerator maintainers (@ecosystem-edge)
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - ecosystem_edge.accelerator.cluster
attributes:
  check_mode:
    description: Lists in check mode what would be deleted and removed, without waiting.
    support: full
options:
  resource:
    description: The extended resource, as pods ask for it.
    type: str
    required: true
  namespace:
    description: The namespace of the device plugin's pods.
    type: str
    required: true
  plugin_labels:
    description: Labels of the device plugin's pods.
    type: dict
    required: true
  wait:
    description: Whether to wait until the kubelets have forgotten the resource, and to make sure that it stays away.
    type: bool
    default: false
  timeout:
    description: Seconds after which O(wait) fails. Less than the kubelet's five minutes is of little use.
    type: int
    default: 600
notes:
  - "Permissions, all of the whole cluster: list of nodes and pods, get of nodes, patch of nodes/status; and delete of
    pods in each namespace that has rejected ones."
seealso:
  - module: ecosystem_edge.accelerator.device_plugin_health
  - module: ecosystem_edge.accelerator.extended_resource_absent
"""

EXAMPLES = r"""
- name: Clear away what the device plugin left behind
  ecosystem_edge.accelerator.device_plugin_cleanup:
    resource: example.com/ptemplate
    namespace: ptemplate
    plugin_labels:
      app.kubernetes.io/name: ptemplate-device-plugin
      app.kubernetes.io/instance: ptemplate
"""

RETURN = r"""
nodes:
  description: The nodes that the resource was taken off, or would be in check mode.
  returned: success
  type: list
  elements: str
pods:
  description:
    - "The rejected pods that were deleted, or would be in check mode: namespace, name, uid, node, owner, reason,
      message."
  returned: success
  type: list
  elements: dict
left:
  description: What is left, and why.
  returned: success
  type: dict
  contains:
    nodes:
      description: Nodes without a device plugin whose capacity is not 0 yet, with the capacity.
      type: dict
      returned: success
    pods:
      description: Rejected pods that no controller would make anew, as in RV(pods).
      type: list
      elements: dict
      returned: success
requests:
  description: How many requests the API server got.
  returned: success
  type: int
"""

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _health as health
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _leftovers as leftovers
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._cluster import (
    Api,
    connect,
    run_module,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._health_read import selector

Json = t.Dict[str, t.Any]


def argument_spec() -> Json:
    return {
        "resource": {"type": "str", "required": True},
        "namespace": {"type": "str", "required": True},
        "plugin_labels": {"type": "dict", "required": True},
        "wait": {"type": "bool", "default": False},
        "timeout": {"type": "int", "default": 600},
    }


def with_plugin(api: Api, namespace: str, labels: t.Mapping[str, t.Any]) -> t.Set[str]:
    """The nodes on which a pod of the device plugin is, ready or not."""
    path = f"/api/v1/namespaces/{namespace}/pods"
    return {node for node, _plugin in api.pages(path, keep=health.placed, labelSelector=selector(labels))[0]}


def clean(api: Api, params: Json, check: bool) -> Json:
    resource = params["resource"]
    served = with_plugin(api, params["namespace"], params["plugin_labels"])
    stale = {name: number for name, number in leftovers.holders(api, resource).items() if name not in served}
    rejected = leftovers.rejected(api, resource)
    owned = [one for one in rejected if one["owner"]]
    waits = params["wait"]
    gone = sorted(name for name, number in stale.items() if number == "0" or waits)
    if not check:
        for one in owned:
            leftovers.delete_pod(api, one)
        if waits and stale:
            gone = leftovers.clear(api, resource, params["timeout"], wanted=lambda name: name in stale)
        elif not waits:
            for name in gone:
                leftovers.remove(api, name, resource)
    return {
        "changed": bool(gone or owned),
        "nodes": gone,
        "pods": owned,
        "left": {
            "nodes": {name: number for name, number in sorted(stale.items()) if name not in gone},
            "pods": [one for one in rejected if not one["owner"]],
        },
    }


def run(module: t.Any) -> None:
    api = connect(module)
    result = clean(api, module.params, module.check_mode)
    module.exit_json(requests=api.requests, **result)


def main() -> None:
    run_module(run, argument_spec())


if __name__ == "__main__":
    main()
