#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Ansible module: make a device of a node fail, and measure how fast that is noticed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: accelerator_drill
short_description: Makes a device of a node fail and measures how fast that is noticed
version_added: 0.2.0
description:
  - Runs a short-lived pod on the node that makes one of the faults of C(health.drill.faults) in the definition.
  - Measures from there until the device plugin has told the kubelet, until the node's allocatable number follows, until
    the expression of the shipped alert is true of the metrics, and, after the fault's end, until all is as it was.
  - Pods on the node that use a failing device may end. Only a node that is well is drilled.
  - The pod ends the fault when it ends itself, which is at the end of the drill, when it is deleted, or after its time,
    also when nobody is there any more to tell it. O(state=absent) clears up after a drill that was interrupted.
  - A drill that takes longer than the definition's budgets is no failure of the module; see RV(drill.ok).
author:
  - The ecosystem_edge.accelerator maintainers (@ecosystem-edge)
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - ecosystem_edge.accelerator.cluster
attributes:
  check_mode:
    description: Looks in check mode whether the drill could be held, and fails otherwise; makes no fault.
    support: full
options:
  definition:
    description:
      - The accelerator definition, filled, as M(ecosystem_edge.accelerator.accelerator_definition) returns it.
    type: dict
    required: true
  node:
    description: The node whose devices may fail.
    type: str
    required: true
  fault:
    description: The name of a fault in C(health.drill.faults). Needed for O(state=held).
    type: str
  state:
    description:
      - V(held) makes the fault, measures and ends it. V(absent) ends what an interrupted drill may have left on the
        node, and does nothing where there is nothing.
    type: str
    choices: [held, absent]
    default: held
notes:
  - "Permissions: get of nodes; in the definition's namespace get, list, create and delete of pods, get of pods/log and
    pods/proxy, and, for a better message when the pod does not start, list of events."
  - The times are those of the node's clock; it need not agree with that of the host that the play runs on.
seealso:
  - module: ecosystem_edge.accelerator.device_plugin_health
  - module: ecosystem_edge.accelerator.accelerator_explain
"""

EXAMPLES = r"""
- name: See how fast an I/O error is noticed
  ecosystem_edge.accelerator.accelerator_drill:
    definition: "{{ accelerator_definition }}"
    node: worker-1
    fault: error
  register: drill

- name: Clear up after a drill that was interrupted
  ecosystem_edge.accelerator.accelerator_drill:
    definition: "{{ accelerator_definition }}"
    node: worker-1
    state: absent
"""

RETURN = r"""
drill:
  description: What was measured. Null in check mode and with O(state=absent).
  returned: success
  type: dict
  contains:
    node:
      description: Name of the node.
      type: str
      returned: success
    fault:
      description: Name of the fault.
      type: str
      returned: success
    seen_by:
      description: Who should notice it, V(plugin) or V(consumer).
      type: str
      returned: success
    devices:
      description: The IDs of the devices that became unhealthy.
      type: list
      elements: str
      returned: success
    reasons:
      description: The device plugin's reasons for that.
      type: list
      elements: str
      returned: success
    alert:
      description: The alert whose expression should become true, or null where there is none.
      type: str
      returned: success
    alert_for:
      description: For how long Prometheus waits before that alert fires. This time is not waited for.
      type: str
      returned: success
    times:
      description:
        - Seconds from the fault to C(noticed), C(allocatable) and C(alert), and from its end to C(recovery). Null for
          what was not seen. A fault that only a consumer notices has no C(allocatable).
      type: dict
      returned: success
    budgets:
      description: The seconds that each may take.
      type: dict
      returned: success
    ok:
      description: Whether all was seen within its budget.
      type: bool
      returned: success
    problems:
      description: What was not.
      type: list
      elements: str
      returned: success
requests:
  description: How many requests the API server got.
  returned: success
  type: int
"""

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._cluster import (
    ClusterError,
    connect,
    run_module,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._drill.outcome import faults
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._drill_run import Drill

Json = t.Dict[str, t.Any]


def argument_spec() -> Json:
    return {
        "definition": {"type": "dict", "required": True},
        "node": {"type": "str", "required": True},
        "fault": {"type": "str"},
        "state": {"type": "str", "choices": ["held", "absent"], "default": "held"},
    }


def do(drill: Drill, fault: t.Optional[str], state: str, check: bool) -> Json:
    if state == "absent":
        return {"changed": drill.restore(check), "drill": None}
    known = faults(drill.definition)
    if fault not in known:
        there = ", ".join(known) or "none"
        raise ClusterError(
            f"fault: expected one of health.drill.faults that can be made here ({there}), seen {fault}; nothing was "
            "changed; next: see health.drill in docs/reference/definition.md"
        )
    if check:
        drill.check(fault)
        return {"changed": True, "drill": None}
    return {"changed": True, "drill": drill.hold(fault)}


def run(module: t.Any) -> None:
    params, api = module.params, connect(module)
    drill = Drill(api, params["definition"], params["node"])
    result = do(drill, params["fault"], params["state"], module.check_mode)
    module.exit_json(requests=api.requests, **result)


def main() -> None:
    run_module(run, argument_spec(), required_if=[("state", "held", ("fault",))])


if __name__ == "__main__":
    main()
