#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Ansible module: which link between an accelerator's hardware and a pod is broken, and what to do."""

from __future__ import annotations

DOCUMENTATION = r"""
module: accelerator_explain
short_description: Names the first broken link between an accelerator's hardware and the pods that want it
version_added: 0.2.0
description:
  - Walks, for each node that may have the hardware, the chain of node, hardware, label, custom resource, Module,
    selector, image, NodeModulesConfig, loaded module, device nodes, device plugin, registration, capacity, allocatable,
    taints and rejected pods, and returns the first link that is broken, the field that shows it, what was expected
    there, how to mend it, and the next command to type.
  - Without O(pod) it explains the whole cluster, one row a node, and each pod that waits for devices.
  - Reads only, in pages. Device plugins are asked for their devices, through the API server's pod proxy, on nodes that
    are not well and nowhere else. A list that may not be read leaves the links that need it V(unknown).
  - It explains and does not judge, so a broken chain is no failure of the module; see RV(ok).
author:
  - The ecosystem_edge.accelerator maintainers (@ecosystem-edge)
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - ecosystem_edge.accelerator.cluster
  - ecosystem_edge.accelerator.cluster.reader
options:
  definition:
    description:
      - The accelerator definition, filled, as M(ecosystem_edge.accelerator.accelerator_definition) returns it.
    type: dict
    required: true
  pod:
    description:
      - A pod, as C(namespace/name). Why it does not start is explained as well, also when it asks for other resources.
    type: str
seealso:
  - module: ecosystem_edge.accelerator.device_plugin_health
"""

EXAMPLES = r"""
- name: See where the chain is broken
  ecosystem_edge.accelerator.accelerator_explain:
    definition: "{{ accelerator_definition }}"
  register: explained

- name: Show it
  ansible.builtin.debug:
    msg: "{{ explained.summary.splitlines() }}"

- name: See why a pod does not start
  ecosystem_edge.accelerator.accelerator_explain:
    definition: "{{ accelerator_definition }}"
    pod: team-a/training-0
"""

RETURN = r"""
ok:
  description: Whether the chain is whole on a node at least and broken on none, and no pod that was looked at is stuck.
  returned: success
  type: bool
nodes:
  description: One entry for each node that may have the hardware, or has a trace of it.
  returned: success
  type: list
  elements: dict
  contains:
    node:
      description: Name of the node.
      type: str
      returned: success
    state:
      description:
        - V(ok) when the chain is whole, V(broken) when a link is broken, V(unknown) when none is and one could not be
          seen, V(absent) when the node has no such hardware, which is no fault.
      type: str
      returned: success
    link:
      description:
        - The link that is named, or null when the chain is whole. In their order V(node), V(hardware), V(label),
          V(custom_resource), V(module), V(selector), V(image), V(node_config), V(loaded), V(device_nodes), V(plugin),
          V(registration), V(capacity), V(allocatable), V(taints), V(pod).
      type: str
      returned: success
    evidence:
      description: "What shows it: object, field, value. Null when the chain is whole."
      type: dict
      returned: success
    expected:
      description: What was expected there.
      type: str
      returned: success
    fix:
      description: How to mend it, in one sentence.
      type: str
      returned: success
    next:
      description: The next command.
      type: str
      returned: success
    links:
      description: The state of each link that was walked; what lies behind a broken one is not looked at.
      type: dict
      returned: success
pods:
  description:
    - The pod that was asked for, or those that ask for the resource and have no node, of each controller the first.
    - C(pod) is its namespace and name, and state, link, evidence, expected, fix and next are those of RV(nodes).
  returned: success
  type: list
  elements: dict
summary:
  description: The same to read, what is broken first, with what to do below the table.
  returned: success
  type: str
  sample: |-
    NODE      STATE   LINK    SEEN                                         EXPECTED
    worker-2  broken  taints  node.kubernetes.io/unschedulable:NoSchedule  a node that takes pods
    worker-1  ok

    worker-2, taints: uncordon the node when its maintenance is over
      Node/worker-2
      kubectl uncordon worker-2
requests:
  description: How many requests the API server got.
  returned: success
  type: int
"""

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._cluster import connect, run_module
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._explain import table
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._explain_read import read


def run(module: t.Any) -> None:
    api = connect(module)
    found = read(api, module.params["definition"], module.params["pod"])
    module.exit_json(
        changed=False,
        ok=found.ok,
        nodes=found.rows,
        pods=found.pods,
        summary=table(found.rows, found.pods),
        requests=api.requests,
    )


def main() -> None:
    run_module(run, {"definition": {"type": "dict", "required": True}, "pod": {"type": "str"}})


if __name__ == "__main__":
    main()
