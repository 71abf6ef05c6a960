#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Ansible module: the health of an accelerator's devices, per node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: device_plugin_health
short_description: Reports the devices of an accelerator per node, with a verdict and its reason
version_added: 0.1.0
description:
  - Compares, for each node that should have devices, what is expected, what the kubelet advertises, what pods can get,
    and what the device plugin itself says of each device, and returns a verdict with its reason and evidence as the
    fact C(accelerator_health).
  - Finds what a device plugin left behind, on any node; this has no part in the verdicts.
  - Reads only. With O(wait) it watches until every node is well, and fails with the table when that does not happen.
  - No node at all is a failure, not success.
author:
  - The ecosystem_edge.accelerator maintainers (@ecosystem-edge)
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - ecosystem_edge.accelerator.cluster
  - ecosystem_edge.accelerator.cluster.reader
options:
  resource:
    description: The extended resource, as pods ask for it.
    type: str
    required: true
  namespace:
    description: The namespace of the device plugin's pods.
    type: str
    required: true
  nodes:
    description: Labels of the nodes that should have devices.
    type: dict
    required: true
  expected:
    description: How many devices each node should offer, each as often as pods may share it. Without it, at least one.
    type: int
  expected_nodes:
    description:
      - How many nodes should have devices. Without it, every node that is there, and at least one.
      - With it, a node that is not ready is no fault as long as so many others are well.
    type: int
  plugin_labels:
    description: Labels of the device plugin's pods.
    type: dict
    required: true
  port:
    description: The port on which the device plugin answers C(/devices).
    type: int
    default: 9400
  ready_label:
    description:
      - A label, of any value, that a node has while the driver's kernel module is loaded there, such as
        C(kmm.node.kubernetes.io/NAMESPACE.NAME.ready). Lets the verdict tell a missing driver from a missing plugin.
    type: str
  tolerations:
    description: Taints that the driver tolerates, as in a pod's spec.
    type: list
    elements: dict
    default: []
    version_added: 0.2.0
  probe:
    description:
      - Which device plugins are asked for their devices, through the API server's pod proxy.
      - V(suspect) asks those of nodes that are ready and whose numbers are not as they should be.
      - Eight are asked at a time, each for 15 seconds at most and all together for two minutes; the verdict on nodes
        whose plugin there was no time for rests on their numbers.
      - With V(suspect) and V(none) pods, too, are looked up on such nodes only, unless O(wait) is set.
    type: str
    choices: [all, suspect, none]
    default: suspect
  consumer_labels:
    description:
      - Labels of pods that use the devices. The last lines that one of them wrote are returned as RV(consumer).
    type: dict
    version_added: 0.2.0
  consumer_lines:
    description: How many lines these are.
    type: int
    default: 5
    version_added: 0.2.0
  wait:
    description: Whether to wait until every node is well, and to fail otherwise.
    type: bool
    default: false
  timeout:
    description: Seconds after which O(wait) fails.
    type: int
    default: 600
notes:
  - In check mode it does not wait; see RV(skipped_wait).
  - The numbers of a node follow the kubelet's with up to 10 seconds of delay.
"""

EXAMPLES = r"""
- name: Look at the devices
  ecosystem_edge.accelerator.device_plugin_health:
    resource: example.com/ptemplate
    namespace: ptemplate
    nodes:
      feature.node.kubernetes.io/ptemplate.present: "true"
    plugin_labels:
      app.kubernetes.io/name: ptemplate-device-plugin
      app.kubernetes.io/instance: ptemplate
    probe: all
  register: health

- name: Show the table
  ansible.builtin.debug:
    msg: "{{ health.summary.splitlines() }}"

- name: Wait for five devices on each of two nodes
  ecosystem_edge.accelerator.device_plugin_health:
    resource: example.com/ptemplate
    namespace: ptemplate
    nodes:
      feature.node.kubernetes.io/ptemplate.present: "true"
    plugin_labels:
      app.kubernetes.io/name: ptemplate-device-plugin
    ready_label: kmm.node.kubernetes.io/ptemplate.ptemplate.ready
    expected: 5
    expected_nodes: 2
    wait: true
    timeout: 300
"""

RETURN = r"""
ansible_facts:
  description: Holds one fact, C(accelerator_health).
  returned: success
  type: dict
  contains:
    accelerator_health:
      description: What was found.
      returned: success
      type: dict
      contains:
        resource:
          description: The extended resource.
          type: str
          returned: success
        ok:
          description: Whether every node is well and there are as many nodes as expected.
          type: bool
          returned: success
        expected_nodes:
          description: How many nodes should have devices, or null.
          type: int
          returned: success
        nodes:
          description: One entry a node.
          type: list
          elements: dict
          returned: success
          contains:
            node:
              description: Name of the node.
              type: str
              returned: success
            expected:
              description: How many devices the node should have, or null for at least one.
              type: int
              returned: success
            advertised:
              description: The node's capacity of the resource, which counts healthy and unhealthy devices.
              type: int
              returned: success
            allocatable:
              description: How many devices pods can get in all, which counts healthy devices.
              type: int
              returned: success
            healthy:
              description: What the plugin calls healthy, each device as often as pods may share it; null if not asked.
              type: int
              returned: success
            verdict:
              description:
                - V(ok).
                - V(degraded) when some devices are missing or unhealthy, V(unhealthy) when all are unhealthy,
                  V(missing) when the kubelet advertises none.
                - V(no_driver) when the module is not loaded, V(no_plugin) when no plugin runs on the node,
                  V(plugin_failing) when it does not get ready or does not answer, V(unregistered) when the kubelet does
                  not know it, V(stale) when the node's numbers are left from a plugin that is gone.
                - V(node_not_ready) when the node itself is not ready.
                - V(unschedulable) when the node is cordoned, or has a taint that O(tolerations) do not tolerate, and
                  has no devices, which is no fault.
              type: str
              returned: success
            reason:
              description: Why, in one line; empty when all is well.
              type: str
              returned: success
            evidence:
              description:
                - What the verdict rests on. C(plugin) is null also where nobody looked for it, since the node's numbers
                  show that one is at work; see O(probe).
              type: dict
              returned: success
            devices:
              description: >-
                The devices as the plugin sees them: id, path, health, reason, since, and pods where the kubelet says
                who has them. Empty when it was not asked.
              type: list
              elements: dict
              returned: success
        stale:
          description:
            - "Nodes that have the resource in their capacity and no device plugin: node, capacity. Also nodes that
              should have no devices; there a capacity of 0 is left for good. See
              M(ecosystem_edge.accelerator.device_plugin_cleanup)."
          type: list
          elements: dict
          returned: success
          version_added: 0.2.0
        rejected:
          description:
            - "Pods anywhere that ask for the resource and were rejected, by UnexpectedAdmissionError or OutOf:
              namespace, name, uid, node, owner, reason, message."
            - Null when the pods of all namespaces may not be listed, or could not be just then.
          type: list
          elements: dict
          returned: success
          version_added: 0.2.0
summary:
  description: The same as a table to read.
  returned: always, after the first read
  type: str
  sample: |-
    NODE      EXPECTED  ADVERTISED  ALLOCATABLE  HEALTHY  VERDICT  REASON
    worker-1         5           5            5        5  ok
consumer:
  description:
    - "The first running pod with O(consumer_labels): C(pod), its name, C(lines), what it wrote last, and C(reason), why
      there are no lines."
  returned: with O(consumer_labels)
  type: dict
  sample: {"pod": "ptemplate-consumer-5d9c", "lines": ["ptemplate-0: read back 25 B, verified"], "reason": ""}
  version_added: 0.2.0
skipped_wait:
  description: Whether not all was well and nothing was waited for, because of check mode.
  returned: success
  type: bool
elapsed:
  description: How many seconds it took.
  returned: always, after the first read
  type: float
requests:
  description: How many requests the API server got.
  returned: always, after the first read
  type: int
"""

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _health as health
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._cluster import connect, run_module
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._health_read import Reader, selector, wait
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._pod_lines import last_lines

Json = t.Dict[str, t.Any]


def argument_spec() -> Json:
    return {
        "resource": {"type": "str", "required": True},
        "namespace": {"type": "str", "required": True},
        "nodes": {"type": "dict", "required": True},
        "expected": {"type": "int"},
        "expected_nodes": {"type": "int"},
        "plugin_labels": {"type": "dict", "required": True},
        "port": {"type": "int", "default": 9400},
        "ready_label": {"type": "str"},
        "tolerations": {"type": "list", "elements": "dict", "default": []},
        "probe": {"type": "str", "choices": ["all", "suspect", "none"], "default": "suspect"},
        "consumer_labels": {"type": "dict"},
        "consumer_lines": {"type": "int", "default": 5},
        "wait": {"type": "bool", "default": False},
        "timeout": {"type": "int", "default": 600},
    }


def run(module: t.Any) -> None:
    params = module.params
    reader = Reader(connect(module), params)
    timeout = params["timeout"] if params["wait"] and not module.check_mode else 0
    entries, elapsed = wait(reader, params["probe"], timeout)
    fine = reader.well(entries)
    stale, rejected = reader.leftovers(entries)
    result = {
        "ansible_facts": {
            "accelerator_health": {
                "resource": params["resource"],
                "ok": fine,
                "expected_nodes": params["expected_nodes"],
                "nodes": entries,
                "stale": stale,
                "rejected": rejected,
            }
        },
        "summary": health.table(entries) + health.leftovers(stale, rejected, reader.rules.resource),
        "elapsed": round(elapsed, 2),
    }
    if params["consumer_labels"]:
        labels = selector(params["consumer_labels"])
        result["consumer"] = last_lines(reader.api, params["namespace"], labels, params["consumer_lines"])
    result["requests"] = reader.api.requests
    if params["wait"] and not module.check_mode and not fine:
        text = health.failure(entries, reader.rules, reader.expected_nodes, reader.selector, elapsed)
        module.fail_json(msg=text, **result)
    module.exit_json(changed=False, skipped_wait=bool(params["wait"]) and not fine, **result)


def main() -> None:
    run_module(run, argument_spec())


if __name__ == "__main__":
    main()
