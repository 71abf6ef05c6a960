# SPDX-License-Identifier: Apache-2.0
"""Reads what accelerator_facts are made of, and asks what the user may do. PRIVATE to this collection."""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _facts as facts
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _facts_permissions as permissions
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._cluster import (
    METADATA,
    Api,
    Json,
    Refused,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._cluster_discovery import brief
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._facts_removal import removal_needs
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests import operators_of_ours

NOT_OURS: Json = {"phase": None, "definitions": []}


class Reader:
    """Reads the cluster. When permissions are checked afterwards, what may not be read is first taken for empty."""

    def __init__(self, api: Api, lenient: bool) -> None:
        self.api = api
        self._lenient = lenient
        self.served = api.discover()
        self.apis = {name: sorted({r.kind for r in found}) for name, found in sorted(self.served.items())}

    def items(self, wanted: t.Tuple[str, str], namespace: t.Optional[str] = None, **query: t.Any) -> t.List[Json]:
        """All objects of a kind; none where it is not served."""
        found = [resource for resource in self.served.get(wanted[0], ()) if resource.kind == wanted[1]]
        try:
            return self.api.pages(found[0].path(namespace), **query)[0] if found else []
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
            "nfd": {**facts.nfd(self.apis, self.items(facts.NFD_APIS[0])), **NOT_OURS},
            "kmm": {"api": facts.KMM_API[0] if facts.served(self.apis, facts.KMM_API) else None, **NOT_OURS},
            "olm": {
                "present": facts.served(self.apis, facts.OLM_API),
                "subscriptions": [facts.subscription(item) for item in self.items(facts.OLM_API)],
                "operator_groups": [facts.operator_group(item) for item in self.items(facts.GROUP_API)],
            },
            "namespaces": facts.namespaces(namespaces),
            "namespaces_going": facts.going(namespaces),
            "namespace": facts.namespace(namespaces, namespace),
        }

    def operators(self, definition: Json, found: Json) -> t.Dict[str, Json]:
        """Of NFD and KMM, where they are ours, what OLM has made of them."""
        made = {}
        for component, (place, label) in operators_of_ours(definition, found).items():
            definitions = self.items(facts.CRD_API, labelSelector=label, accept=METADATA)
            made[component] = {
                **found[component],
                "phase": facts.phase(self.items(facts.CSV_API, place, labelSelector=label)),
                "definitions": [item["metadata"]["name"] for item in definitions],
            }
        return made

    def written(self, definition: Json, found: Json, removal: bool) -> t.List[Json]:
        """What playbooks wrote for this accelerator, as far as a role looks for what is no longer wanted of it."""
        return [
            brief(query, item)
            for query in permissions.kept(definition, found, removal)
            for item in self.items(
                (query["api_version"], query["kind"]),
                query["namespace"],
                labelSelector=",".join(query["label_selectors"]),
                accept=METADATA,
            )
        ]


def denied(api: Api, definition: Json, found: Json, removal: bool = False) -> t.List[permissions.Need]:
    """What site.yml, or a teardown, needs and may not do: one request for an administrator, a handful for others."""

    def allowed(review: Json) -> bool:
        return api.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)["status"]["allowed"]

    if allowed(permissions.everything_review()):
        return []
    namespace = definition["namespace"]
    needed = removal_needs(definition, found) if removal else permissions.needs(definition, found)
    for escalate, granted in [] if removal else permissions.grants(definition, found):
        if not allowed(permissions.access_review(escalate)):
            needed += granted
    rules = api.post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", permissions.rules_review(namespace))
    sure, unknown = permissions.settle(dict.fromkeys(needed), namespace, rules["status"])
    return sure + [need for need in unknown if not allowed(permissions.access_review(need))]


__all__ = ("Reader", "denied")
