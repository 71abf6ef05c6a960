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
options:
  definition:
    description:
      - The accelerator definition, filled, as M(ecosystem_edge.accelerator.accelerator_definition) returns it.
      - O(nodes) and O(namespace) are taken from it unless given. Needed by O(check_permissions).
    type: dict
  nodes:
    description:
      - Labels that candidate nodes have. Empty means every schedulable Linux worker.
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
          type: dict
          returned: success
        kmm:
          description: "Kernel Module Management: its C(api) or null."
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
        namespace:
          description: "C(labels) and C(annotations) of the accelerator's namespace; null when it is not there."
          type: dict
          returned: success
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
    Api,
    ClusterError,
    Refused,
    cluster_module,
    connect,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests import obstacles

Json = t.Dict[str, t.Any]


def argument_spec() -> Json:
    return {
        "definition": {"type": "dict"},
        "nodes": {"type": "dict"},
        "namespace": {"type": "str"},
        "check_permissions": {"type": "bool", "default": False},
        "allow_no_nodes": {"type": "bool", "default": False},
    }


class Reader:
    """Reads the cluster. When permissions are checked afterwards, what may not be read is first taken for empty."""

    def __init__(self, api: Api, lenient: bool) -> None:
        self.api = api
        self._lenient = lenient
        self.served = api.discover()
        self.apis = {name: sorted({r.kind for r in found}) for name, found in sorted(self.served.items())}

    def items(self, wanted: t.Tuple[str, str]) -> t.List[Json]:
        """All objects of a kind; none where it is not served."""
        found = [resource for resource in self.served.get(wanted[0], ()) if resource.kind == wanted[1]]
        try:
            return self.api.pages(found[0].path())[0] if found else []
        except Refused as error:
            if error.status == 403 and self._lenient:
                return []
            raise

    def openshift_version(self) -> t.Optional[str]:
        """The release that the cluster is at or goes to; None elsewhere."""
        if not facts.served(self.apis, facts.OPENSHIFT_API):
            return None
        try:
            version = self.api.get("/apis/config.openshift.io/v1/clusterversions/version")
        except Refused as error:
            if error.status == 404:  # the API may be there for other software's sake
                return None
            if error.status == 403 and self._lenient:
                return "unknown"
            raise
        return version.get("status", {}).get("desired", {}).get("version") or "unknown"

    def facts(self, nodes: t.List[Json], namespace: t.Optional[str]) -> Json:
        release, namespaces = self.openshift_version(), self.items(facts.NAMESPACE_API)
        return {
            "platform": "openshift" if release else "kubernetes",
            "server": self.api.server,
            "kubernetes_version": self.api.get("/version")["gitVersion"],
            "openshift_version": release,
            "apis": self.apis,
            "nodes": nodes,
            "kernels": facts.kernels(nodes),
            "nfd": facts.nfd(self.apis, self.items(facts.NFD_APIS[0])),
            "kmm": {"api": facts.KMM_API[0] if facts.served(self.apis, facts.KMM_API) else None},
            "olm": {
                "present": facts.served(self.apis, facts.OLM_API),
                "subscriptions": [facts.subscription(item) for item in self.items(facts.OLM_API)],
                "operator_groups": [facts.operator_group(item) for item in self.items(facts.GROUP_API)],
            },
            "namespaces": facts.namespaces(namespaces),
            "namespace": facts.namespace(namespaces, namespace),
        }


def denied(api: Api, definition: Json, found: Json) -> t.List[permissions.Need]:
    """What the play needs and may not do: one request for an administrator, a handful for others."""

    def allowed(review: Json) -> bool:
        return api.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)["status"]["allowed"]

    if allowed(permissions.everything_review()):
        return []
    namespace = definition["namespace"]
    rules = api.post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", permissions.rules_review(namespace))
    sure, unknown = permissions.settle(permissions.needs(definition, found), namespace, rules["status"])
    return sure + [need for need in unknown if not allowed(permissions.access_review(need))]


def run(module: t.Any) -> None:
    params = module.params
    definition = dict(params["definition"] or {})
    definition.update({key: params[key] for key in ("nodes", "namespace") if params[key] is not None})
    labels = definition.get("nodes") or {}
    api = connect(module)
    reader = Reader(api, lenient=params["check_permissions"])
    nodes = reader.items(facts.NODE_API)
    candidates = facts.candidates(nodes, labels)
    result = {**reader.facts(candidates, definition.get("namespace")), "denied": None}
    if params["check_permissions"]:
        lacking = denied(api, definition, result)
        if lacking:
            text = permissions.denied_message(api.server, lacking)
            module.fail_json(msg=text, denied=[need._asdict() for need in lacking])
        result["denied"] = []
        objections = obstacles(definition, result)
        if objections:
            raise ClusterError("; ".join(objections))
    if not candidates and not params["allow_no_nodes"]:
        raise ClusterError(facts.no_candidates(api.server, labels, nodes))
    module.exit_json(changed=False, ansible_facts={"accelerator_facts": result}, requests=api.requests)


def main() -> None:
    module = cluster_module(argument_spec(), required_if=[("check_permissions", True, ("definition",))])
    try:
        run(module)
    except ClusterError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
