#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Ansible module: which objects of several kinds there are."""

from __future__ import annotations

DOCUMENTATION = r"""
module: object_list
short_description: Lists objects of several kinds in one pass, without their contents
version_added: 0.1.0
description:
  - Asks for names and labels only, one request a kind, and says for a kind that is not served that there are none.
author:
  - The ecosystem_edge.accelerator maintainers (@ecosystem-edge)
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - ecosystem_edge.accelerator.cluster
  - ecosystem_edge.accelerator.cluster.reader
options:
  queries:
    description: What to list.
    type: list
    elements: dict
    required: true
    suboptions:
      api_version:
        description: Group and version.
        type: str
        default: v1
      kind:
        description: The kind.
        type: str
        required: true
      namespace:
        description: Where; in the whole cluster when left out.
        type: str
      label_selectors:
        description: Label selectors that all hold.
        type: list
        elements: str
        default: []
seealso:
  - module: kubernetes.core.k8s_info
"""

EXAMPLES = r"""
- name: Read who uses KMM
  ecosystem_edge.accelerator.object_list:
    queries:
      - api_version: kmm.sigs.x-k8s.io/v1beta1
        kind: Module
      - kind: ConfigMap
        namespace: openshift-kmm
        label_selectors: [app.kubernetes.io/component=kmm]
"""

RETURN = r"""
objects:
  description: "Each with apiVersion, kind and metadata: name, namespace, labels; in the order of the queries."
  returned: success
  type: list
  elements: dict
requests:
  description: How many requests the API server got.
  returned: success
  type: int
"""

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._cluster import (
    METADATA,
    Api,
    Resource,
    connect,
    run_module,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._cluster_discovery import brief

Json = t.Dict[str, t.Any]


def argument_spec() -> Json:
    query = {
        "api_version": {"type": "str", "default": "v1"},
        "kind": {"type": "str", "required": True},
        "namespace": {"type": "str"},
        "label_selectors": {"type": "list", "elements": "str", "default": []},
    }
    return {"queries": {"type": "list", "elements": "dict", "required": True, "options": query}}


def objects(api: Api, queries: t.Iterable[Json]) -> t.List[Json]:
    served: dict[str, list[Resource]] = {}
    found = []
    for query in queries:
        version = query["api_version"]
        if version not in served:
            served[version] = api.discover_one(version)
        resource = next((one for one in served[version] if one.kind == query["kind"]), None)
        if resource:
            selector = ",".join(query["label_selectors"])
            items, _version = api.pages(resource.path(query["namespace"]), accept=METADATA, labelSelector=selector)
            found += [brief(query, item) for item in items]
    return found


def run(module: t.Any) -> None:
    api = connect(module)
    found = objects(api, module.params["queries"])
    module.exit_json(changed=False, objects=found, requests=api.requests)


def main() -> None:
    run_module(run, argument_spec())


if __name__ == "__main__":
    main()
