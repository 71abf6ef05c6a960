# SPDX-License-Identifier: Apache-2.0
"""What a teardown needs to be allowed. Pure. PRIVATE to this collection."""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._facts import (
    CRD_API,
    CSV_API,
    NAMESPACE_API,
    served,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._facts_permissions import (
    PRUNE,
    WATCH,
    Need,
    group_of,
    plural,
    to_read,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests import render
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._names import OURS
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._ownership import (
    IMAGES,
    PARTS,
    kept_queries,
    neighbour_queries,
    user_queries,
    widest,
)

Json = t.Dict[str, t.Any]

DELETE = ("get", "delete")


def removal_needs(definition: Json, facts: Json) -> t.List[Need]:
    """Every verb that teardown.yml uses, on what is served and in namespaces that are there: the rest is gone."""
    found: t.List[Need] = []

    namespaces = facts["namespaces"]  # none at all: they may not be read, and each may be there

    def add(verbs: t.Iterable[str], api_version: str, kind: str, place: t.Optional[str] = None) -> None:
        if served(facts["apis"], (api_version, kind)) and (not namespaces or place in (None, *namespaces)):
            found.extend(Need(verb, group_of(api_version), plural(kind), place) for verb in verbs)

    namespace, api = definition["namespace"], definition["operator"]["api"]
    add(WATCH, "v1", "Node")
    add(["list"], *NAMESPACE_API)
    for item in _to_delete(definition, facts):
        add(DELETE, item["apiVersion"], item["kind"], item["metadata"].get("namespace"))
    for query in kept_queries(definition, facts, ["driver_build"]):
        add(PRUNE, query["api_version"], query["kind"], query["namespace"])
    for query in neighbour_queries(definition, facts if namespaces else {**facts, "namespaces": {namespace: None}}):
        add(["list"], query["api_version"], query["kind"], query["namespace"])
    if not namespaces or (namespaces.get(namespace) or "").startswith(OURS):
        add(DELETE, *NAMESPACE_API)
    if not namespaces or facts.get("namespace"):  # where it was there before, ours are labels on it only
        add(["get", "patch"], *NAMESPACE_API)
    custom = (f"{api['group']}/{api['version']}", api["kind"])
    add([*WATCH, "patch", "delete"], *custom, namespace)
    for operator in ("kmm", "nfd"):
        installed = render(f"{operator}_installed", definition, facts, IMAGES)
        shared = render("nfd", widest(definition), facts, IMAGES) if operator == "nfd" else []
        of_all = [item for item in shared if item["kind"] != "NodeFeatureRule"]
        for query in user_queries(installed + of_all, operator):
            add(["list"], query["api_version"], query["kind"], query["namespace"])
        for item in installed:
            add(DELETE, item["apiVersion"], item["kind"], item["metadata"].get("namespace"))
            if item["kind"] == "Subscription":
                add(PRUNE, *CSV_API, item["metadata"]["namespace"])
                add(DELETE, *CRD_API)
    found += [Need("patch", "", "nodes"), Need("patch", "", "nodes/status")]
    return list(dict.fromkeys([*found, *to_read(definition, facts)]))


def _to_delete(definition: Json, facts: Json) -> t.Iterator[Json]:
    """What the stages delete, whatever an earlier definition wanted of it."""
    wide = widest(definition)
    for stage in (*PARTS, "nfd"):
        yield from (item for item in render(stage, wide, facts, IMAGES) if item["kind"] not in ("Node", "Namespace"))


__all__ = ("removal_needs",)
