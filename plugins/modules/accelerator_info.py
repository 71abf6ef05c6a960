#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Ansible module: what the cluster is."""

from __future__ import annotations

DOCUMENTATION = r"""
module: accelerator_info
short_description: Reads in one pass what an accelerator's roles need to know of a cluster
version_added: 0.1.0
description:
  - Reads the platform, the served APIs, the candidate nodes with their kernels, and which of NFD, KMM and OLM are
    there, and returns them as the fact C(accelerator_facts), which the roles of this collection take their decisions
    from.
  - With O(check_permissions) it also asks the API server whether the play may do what it will do, and fails with every
    verb that is denied, before anything is changed.
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
      - O(nodes) and O(namespace) are taken from it unless given. Needed by O(check_permissions).
    type: dict
  nodes:
    description:
      - Labels that candidate nodes have. Empty means every schedulable Linux worker.
      - A node is schedulable when it is neither cordoned nor tainted, but for what the C(tolerations) of O(definition)
        tolerate and for taints of the node's condition, which come and go by themselves.
    type: dict
  namespace:
    description:
      - The accelerator's namespace.
    type: str
  check_permissions:
    description:
      - Whether to fail when the user may not do what the play does, or when what is there stands in its way. Costs one
        request for a cluster administrator.
    type: bool
    default: false
  purpose:
    description:
      - What O(check_permissions) asks about, V(install) for C(site.yml) and V(removal) for C(teardown.yml). Nothing but
        a missing permission stands in the way of a removal.
    type: str
    choices: [install, removal]
    default: install
  written:
    description:
      - Whether to read, too, what playbooks wrote for this accelerator, of which something may no longer be wanted.
      - Needs O(definition).
    type: bool
    default: false
    version_added: 0.2.0
  allow_no_nodes:
    description:
      - Whether it is fine that no node is a candidate. Otherwise it is an error.
    type: bool
    default: false
seealso:
  - module: kubernetes.core.k8s_cluster_info
"""

EXAMPLES = r"""
- name: Read what the cluster is, and make sure that the play may do its work
  ecosystem_edge.accelerator.accelerator_info:
    definition: "{{ accelerator_definition }}"
    check_permissions: true

- name: Read the kernels of some nodes
  ecosystem_edge.accelerator.accelerator_info:
    nodes:
      example.com/rack: "7"

- name: Show them
  ansible.builtin.debug:
    msg: "{{ accelerator_facts.kernels | map(attribute='version') }}"
"""

RETURN = r"""
ansible_facts:
  description: Holds one fact, C(accelerator_facts).
  returned: success
  type: dict
  contains:
    accelerator_facts:
      description: What the cluster is.
      returned: success
      type: dict
      contains:
        platform:
          description: V(openshift) when the cluster has a ClusterVersion, otherwise V(kubernetes).
          type: str
          returned: success
          sample: kubernetes
        server:
          description: URL of the API server.
          type: str
          returned: success
        kubernetes_version:
          description: The API server's version.
          type: str
          returned: success
          sample: v1.35.4
        openshift_version:
          description: The release that the cluster is at or goes to; null elsewhere.
          type: str
          returned: success
        apis:
          description: The kinds of each served group and version.
          type: dict
          returned: success
          sample: {"kmm.sigs.x-k8s.io/v1beta1": ["Module"]}
        nodes:
          description:
            - "The candidate nodes: name, kernel, arch, os_image, ready, schedulable, boot_id, labels, capacity,
              allocatable."
          type: list
          elements: dict
          returned: success
        kernels:
          description: "The kernels of the candidates: version, arch, os_image, nodes (names)."
          type: list
          elements: dict
          returned: success
        nfd:
          description:
            - "Node Feature Discovery: its newest served C(api) or null, C(instances) as namespace/name, C(namespace) of
              the first."
            - "Where this collection installed it: C(phase) of its ClusterServiceVersion, null without one, and
              C(definitions), the names of the CRDs that came with it."
          type: dict
          returned: success
        kmm:
          description: "Kernel Module Management: its C(api) or null, C(phase) and C(definitions) as of C(nfd)."
          type: dict
          returned: success
        olm:
          description:
            - "Operator Lifecycle Manager: C(present), C(subscriptions) (name, namespace, package, managed_by),
              C(operator_groups) (name, namespace, targets, managed_by)."
          type: dict
          returned: success
        namespaces:
          description: Each namespace with the value of its label C(app.kubernetes.io/managed-by), or null.
          type: dict
          returned: success
          sample: {"default": null, "ptemplate": "accelerator-playbook"}
        namespaces_going:
          description: Names of the namespaces that are being deleted.
          type: list
          elements: str
          returned: success
        namespace:
          description: "C(labels) and C(annotations) of the accelerator's namespace; null when it is not there."
          type: dict
          returned: success
        written:
          description:
            - "What playbooks wrote for this accelerator: apiVersion, kind, metadata (name, namespace, labels). With
              O(purpose=install) what the stages of O(definition) may have made that it no longer wants, with
              V(removal) what builds drivers in the cluster."
            - Null when O(written) is off.
          type: list
          elements: dict
          returned: success
          version_added: 0.2.0
        denied:
          description: What the play needs and may not do; null when O(check_permissions) is off, else empty.
          type: list
          elements: dict
          returned: success
denied:
  description: "Every permission that is missing: verb, group, resource, namespace."
  returned: when permissions are missing
  type: list
  elements: dict
requests:
  description: How many requests the API server got.
  returned: success
  type: int
"""

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _facts as facts
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _facts_permissions as permissions
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._cluster import (
    ClusterError,
    connect,
    run_module,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._facts_read import Reader, denied
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests import obstacles

Json = t.Dict[str, t.Any]


def argument_spec() -> Json:
    return {
        "definition": {"type": "dict"},
        "nodes": {"type": "dict"},
        "namespace": {"type": "str"},
        "check_permissions": {"type": "bool", "default": False},
        "purpose": {"choices": ["install", "removal"], "default": "install"},
        "written": {"type": "bool", "default": False},
        "allow_no_nodes": {"type": "bool", "default": False},
    }


def run(module: t.Any) -> None:
    params = module.params
    definition = dict(params["definition"] or {})
    definition.update({key: params[key] for key in ("nodes", "namespace") if params[key] is not None})
    labels = definition.get("nodes") or {}
    api = connect(module)
    reader = Reader(api, lenient=params["check_permissions"])
    nodes = reader.items(facts.NODE_API)
    candidates = facts.candidates(nodes, labels, definition.get("tolerations") or [])
    result = {**reader.facts(candidates, definition.get("namespace")), "written": None, "denied": None}
    if params["definition"]:
        result.update(reader.operators(definition, result))
    removal = params["purpose"] == "removal"
    if params["check_permissions"]:
        lacking = denied(api, definition, result, removal)
        if lacking:
            text = permissions.denied_message(api.server, lacking)
            module.fail_json(msg=text, denied=[need._asdict() for need in lacking])
        result["denied"] = []
        objections = [] if removal else obstacles(definition, result)
        if objections:
            raise ClusterError("; ".join(objections))
    if params["written"]:
        result["written"] = reader.written(definition, result, removal)
    if not candidates and not params["allow_no_nodes"]:
        raise ClusterError(facts.no_candidates(api.server, labels, nodes))
    module.exit_json(changed=False, ansible_facts={"accelerator_facts": result}, requests=api.requests)


def main() -> None:
    needs = [("check_permissions", True, ("definition",)), ("written", True, ("definition",))]
    run_module(run, argument_spec(), required_if=needs)


if __name__ == "__main__":
    main()
