#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Ansible module: wait for objects of a cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
module: resource_wait
short_description: Waits until an expression holds for the expected number of objects
version_added: 0.1.0
description:
  - Watches objects of one kind until a JMESPath expression holds for the expected number of them, fails at once when
    another expression says that waiting is in vain, and returns what it saw last.
  - Other than C(wait_condition) of M(kubernetes.core.k8s_info) it is not bound to C(status.conditions), and no object
    at all is never taken for success unless O(count=0).
  - A kind that is not served yet is waited for within the same bound, so a wait may follow the request that installs
    the kind's CRD.
  - A dropped connection, an API server that restarts and an expired watch are survived within the bound.
author:
  - The ecosystem_edge.accelerator maintainers (@ecosystem-edge)
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - ecosystem_edge.accelerator.cluster
  - ecosystem_edge.accelerator.cluster.reader
requirements:
  - jmespath >= 1.0
options:
  api_version:
    description: The group and version of the objects.
    type: str
    default: v1
  kind:
    description: The kind of the objects.
    type: str
    required: true
  name:
    description: The name of the one object to watch.
    type: str
  namespace:
    description: The namespace of the objects. Without it, all namespaces are watched, or the kind is cluster-wide.
    type: str
  label_selectors:
    description: Label selectors that the objects match, all of them.
    type: list
    elements: str
    default: []
  field_selectors:
    description: Field selectors that the objects match, all of them.
    type: list
    elements: str
    default: []
  until:
    description:
      - A JMESPath expression over one object. It holds when its value is neither null, false, 0 nor empty.
      - Without it, an object counts as soon as it exists.
      - Keys with dots, slashes or dashes are quoted, and strings stand in single quotes; see the examples.
    type: str
    default: "@"
  count:
    description:
      - For how many objects O(until) must hold. V(all) means every object that is there, and at least one.
      - V(0) waits until it holds for none, so with the default O(until) for absence.
      - A number is a least number, so that a node which joins meanwhile does not turn success into a failure.
    type: str
    default: all
  fail_when:
    description: A JMESPath expression over one object. When it holds for any object, waiting ends at once in failure.
    type: str
  fail_message:
    description: A JMESPath expression over the object for which O(fail_when) held; its value is put into the message.
    type: str
  pods:
    description:
      - Label selectors of the pods that do the work; a pod counts when any of them matches.
      - When such a pod fails, or cannot start, for 30 seconds while it is waited, waiting ends with its words.
      - A pod that failed before counts only once it has tried again, so a run after mending is not stopped by what was.
    type: list
    elements: str
    default: []
  pods_namespace:
    description: The namespace of O(pods). Without it, O(namespace).
    type: str
  settle:
    description:
      - Seconds for which O(until) has to go on holding for the same objects. For objects of which nobody knows
        beforehand how many there will be, so that the first one is not taken for all.
      - What has not settled when O(timeout) is over is no failure.
    type: int
    default: 0
  show:
    description: A JMESPath expression over one object; its value stands for the object in messages.
    type: str
  fields:
    description: A JMESPath expression over one object; its value is returned in RV(resources) in place of the object.
    type: str
  what:
    description: What is waited for, in words, for messages.
    type: str
  next_step:
    description: The command to type, or the thing to look at, when the wait fails.
    type: str
  timeout:
    description: Seconds after which the wait fails.
    type: int
    default: 600
notes:
  - In check mode it does not wait. It returns what is there, with RV(skipped_wait) when O(until) does not hold yet.
seealso:
  - module: kubernetes.core.k8s_info
"""

EXAMPLES = r"""
- name: Wait until an operator is installed, and stop when it cannot be
  ecosystem_edge.accelerator.resource_wait:
    api_version: operators.coreos.com/v1alpha1
    kind: ClusterServiceVersion
    namespace: openshift-kmm
    label_selectors: [operators.coreos.com/kernel-module-management.openshift-kmm]
    until: status.phase == 'Succeeded'
    fail_when: status.phase == 'Failed'
    fail_message: status.message
    show: status.phase
    next_step: kubectl -n openshift-kmm describe clusterserviceversions

# Keys with dots or slashes are quoted with double quotes, and literals with single quotes or backticks.
- name: Wait until two nodes have a label
  ecosystem_edge.accelerator.resource_wait:
    kind: Node
    until: metadata.labels."feature.node.kubernetes.io/ptemplate.present" == 'true'
    count: 2
    show: metadata.labels."feature.node.kubernetes.io/kernel-version.full"
    fields: metadata.name

# A selector is cheaper than an expression, because only the matching nodes are sent.
- name: The same by a selector
  ecosystem_edge.accelerator.resource_wait:
    kind: Node
    label_selectors: [feature.node.kubernetes.io/ptemplate.present=true]
    count: 2

- name: Wait until KMM has loaded the module on three nodes
  ecosystem_edge.accelerator.resource_wait:
    api_version: kmm.sigs.x-k8s.io/v1beta1
    kind: Module
    name: ptemplate
    namespace: ptemplate
    until: status.moduleLoader.availableNumber == `3` && status.moduleLoader.desiredNumber == `3`
    show: status.moduleLoader
    pods: [kmm.node.kubernetes.io/module.name=ptemplate]

# A status belongs to the present spec only when observedGeneration is the generation.
- name: Wait until a DaemonSet runs its present pod template on two nodes
  ecosystem_edge.accelerator.resource_wait:
    api_version: apps/v1
    kind: DaemonSet
    name: ptemplate-device-plugin
    namespace: ptemplate
    until: >-
      status.observedGeneration == metadata.generation && status.desiredNumberScheduled >= `2`
      && status.updatedNumberScheduled == status.desiredNumberScheduled
      && status.numberAvailable == status.desiredNumberScheduled
    show: "{desired: status.desiredNumberScheduled, available: status.numberAvailable}"
    next_step: kubectl -n ptemplate get pods -o wide

- name: Wait until the pods are gone
  ecosystem_edge.accelerator.resource_wait:
    kind: Pod
    namespace: ptemplate
    label_selectors: [app.kubernetes.io/instance=ptemplate]
    count: 0
    timeout: 120
"""

RETURN = r"""
resources:
  description: The objects as they were seen last, or what O(fields) makes of each.
  returned: always, after the first read
  type: list
  elements: raw
matched:
  description: For how many of them O(until) held.
  returned: always, after the first read
  type: int
skipped_wait:
  description: Whether O(until) did not hold and nothing was waited for, because of check mode.
  returned: success
  type: bool
elapsed:
  description: How many seconds the wait took.
  returned: always, after the first read
  type: float
requests:
  description: How many requests the API server got.
  returned: always, after the first read
  type: int
"""

import typing as t

from ansible.module_utils.basic import missing_required_lib
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _wait
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._cluster import (
    ClusterError,
    cluster_module,
    connect,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._wait_pods import Pods
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._wait_rules import jmespath


def argument_spec() -> t.Dict[str, t.Any]:
    return {
        "api_version": {"type": "str", "default": "v1"},
        "kind": {"type": "str", "required": True},
        "name": {"type": "str"},
        "namespace": {"type": "str"},
        "label_selectors": {"type": "list", "elements": "str", "default": []},
        "field_selectors": {"type": "list", "elements": "str", "default": []},
        "until": {"type": "str", "default": "@"},
        "count": {"type": "str", "default": "all"},
        "fail_when": {"type": "str"},
        "fail_message": {"type": "str"},
        "pods": {"type": "list", "elements": "str", "default": []},
        "pods_namespace": {"type": "str"},
        "settle": {"type": "int", "default": 0},
        "show": {"type": "str"},
        "fields": {"type": "str"},
        "what": {"type": "str"},
        "next_step": {"type": "str"},
        "timeout": {"type": "int", "default": 600},
    }


def number(text: str) -> t.Optional[int]:
    """The expected number of objects; None stands for all."""
    if text == "all":
        return None
    if not text.isdecimal():
        raise ValueError(f"count is {text!r}: expected all, or a number from 0 on")
    return int(text)


def run(module: t.Any) -> None:
    params = module.params

    def expression(option: str) -> t.Optional[_wait.Expression]:
        return _wait.Expression(option, params[option]) if params[option] else None

    until = _wait.Expression("until", params["until"])
    rules = _wait.Rules(until, number(params["count"]), expression("fail_when"))
    show, message, fields = expression("show"), expression("fail_message"), expression("fields")
    target = _wait.Target(
        params["api_version"],
        params["kind"],
        params["name"],
        params["namespace"],
        params["label_selectors"],
        params["field_selectors"],
    )
    what = params["what"] or str(target)
    api = connect(module)
    pods = Pods(params["pods_namespace"] or params["namespace"], params["pods"]) if params["pods"] else None
    outcome = _wait.wait(
        api, target, rules, params["timeout"], look_once=module.check_mode, pods=pods, settle=params["settle"]
    )
    seen = outcome.seen
    result = {
        "resources": [fields.value(item) if fields else _wait.trimmed(item) for item in seen.items],
        "matched": seen.matched,
        "elapsed": round(outcome.elapsed, 2),
        "requests": api.requests,
    }
    if module.check_mode or (seen.done and not seen.failed and not outcome.failed):
        module.exit_json(changed=False, skipped_wait=not seen.done, **result)
    if seen.failed or outcome.failed:
        text = _wait.in_vain(what, rules, message, show, outcome, params["next_step"])
    else:
        text = _wait.timed_out(what, rules, show, outcome, params["next_step"])
    module.fail_json(msg=text, **result)


def main() -> None:
    module = cluster_module(argument_spec())
    if jmespath is None:
        module.fail_json(msg=missing_required_lib("jmespath"))
    try:
        run(module)
    except (ClusterError, ValueError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
