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
  - ecosystem_edge.accelerator.cluster
attributes:
  check_mode:
    description: Says in check mode whether a node has the resource, without waiting.
    support: full
options:
  resource:
    description: The extended resource, as pods ask for it.
    type: str
    required: true
  timeout:
    description: Seconds after which the module fails. Less than the kubelet's five minutes is of little use.
    type: int
    default: 600
seealso:
  - module: ecosystem_edge.accelerator.device_plugin_cleanup
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

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _leftovers as leftovers
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._cluster import connect, run_module


def run(module: t.Any) -> None:
    api, resource = connect(module), module.params["resource"]
    if module.check_mode:
        nodes = sorted(leftovers.holders(api, resource))
    else:
        nodes = leftovers.clear(api, resource, module.params["timeout"])
    module.exit_json(changed=bool(nodes), nodes=nodes, requests=api.requests)


def main() -> None:
    run_module(run, {"resource": {"type": "str", "required": True}, "timeout": {"type": "int", "default": 600}})


if __name__ == "__main__":
    main()
