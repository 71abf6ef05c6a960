# SPDX-License-Identifier: Apache-2.0
"""Whose an object is, so that no more and no less is removed than is ours. Pure. PRIVATE to this collection.

What to look for are queries of the module object_list; what it found are objects with names and labels only.
"""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names as names
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests import released, render
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests.driver_build import EVERY

Json = t.Dict[str, t.Any]
Key = t.Tuple[str, str, str, str]


# Whoever has one of these needs the operator. What is not served is not there.
USER_KINDS = {
    "kmm": (("kmm.sigs.x-k8s.io/v1beta1", "Module"),),
    "nfd": (
        ("nfd.openshift.io/v1", "NodeFeatureDiscovery"),
        ("nfd.openshift.io/v1alpha1", "NodeFeatureRule"),
        ("nfd.k8s-sigs.io/v1alpha1", "NodeFeatureRule"),
    ),
}
# What an accelerator has in its namespace, whoever manages it, in the order in which it is made.
PARTS = ("kmm", "device_plugin", "consumer", "operator", "monitoring")
IMAGES = dict.fromkeys(("driver", "device_plugin", "consumer", "operator"), "registry.invalid/any:1")


def key(item: Json) -> Key:
    meta = item["metadata"]
    return item["apiVersion"].rpartition("/")[0], item["kind"], meta.get("namespace") or "", meta["name"]


def label(item: Json, name: str) -> t.Optional[str]:
    return (item["metadata"].get("labels") or {}).get(name)


def query(api_version: str, kind: str, namespace: t.Optional[str] = None, *selectors: str) -> Json:
    return {"api_version": api_version, "kind": kind, "namespace": namespace, "label_selectors": list(selectors)}


def widest(definition: Json) -> Json:
    """The definition with all that an earlier one may have wanted, for what takes things away."""
    consumer = definition["consumer"] or {"source": None, "command": None, "devices": 1, "replicas": 1}
    return {
        **definition,
        "managed_by": "operator",
        "driver": {**definition["driver"], "build": {**definition["driver"]["build"], "strategy": EVERY}},
        "consumer": consumer,
        "device_plugin": {**definition["device_plugin"], "deploy": "own"},
        "monitoring": {**definition["monitoring"], "enabled": True},
    }


def user_queries(ours: t.Sequence[Json], operator: str) -> t.List[Json]:
    """How to find who uses an operator, or the shared objects of its API; nothing when neither is ours."""
    places = dict.fromkeys(item["metadata"]["namespace"] for item in ours if item["metadata"].get("namespace"))
    records = [
        query("v1", "ConfigMap", place, f"{names.LABEL_COMPONENT}={operator}", names.LABEL_PART_OF) for place in places
    ]
    return [*records, *(query(*kind) for kind in USER_KINDS[operator])] if ours else []


def users(found: t.Iterable[Json], definition: Json, ours: t.Iterable[Json]) -> t.List[Json]:
    """What of the found shows that somebody else is a user: not of this accelerator, and not what all share."""
    known = {key(item) for item in ours}
    return [item for item in found if label(item, names.LABEL_PART_OF) != definition["name"] and key(item) not in known]


def _widest_objects(definition: Json, facts: Json, stages: t.Iterable[str]) -> t.List[Json]:
    rendered = [item for stage in stages for item in render(stage, widest(definition), facts, IMAGES)]
    return [item for item in rendered if item["kind"] != "Node"]


def kept_queries(definition: Json, facts: Json, stages: t.Sequence[str]) -> t.List[Json]:
    """How to find what playbooks wrote in these stages for this accelerator, with whatever definition."""
    objects = _widest_objects(definition, facts, stages)
    components = sorted({label(item, names.LABEL_COMPONENT) or "" for item in objects})
    selectors = [
        f"{names.LABEL_PART_OF}={definition['name']}",
        f"{names.LABEL_MANAGED_BY}={names.PLAYBOOK}",
        f"{names.LABEL_COMPONENT} in ({','.join(components)})",
    ]
    kinds = dict.fromkeys((item["apiVersion"], item["kind"], item["metadata"].get("namespace")) for item in objects)
    return [query(*kind, *selectors) for kind in kinds]


def surplus(
    found: t.Iterable[Json], definition: Json, facts: Json, stages: t.Sequence[str], wanted: t.Iterable[Json]
) -> t.List[Json]:
    """What of the found is no longer wanted, in the order in which it is made; what is made no more, last.

    found: of these stages, and perhaps of others, which are left alone.
    """
    objects = _widest_objects(definition, facts, stages)
    order, components = [_form(item) for item in objects], {label(item, names.LABEL_COMPONENT) for item in objects}
    keys = {key(item) for item in wanted}

    def place(item: Json) -> int:
        return order.index(_form(item)) if _form(item) in order else len(order)

    return sorted(
        (item for item in found if label(item, names.LABEL_COMPONENT) in components and key(item) not in keys),
        key=place,
    )


def _form(item: Json) -> t.Tuple[str, t.Optional[str]]:
    return item["kind"], label(item, names.LABEL_COMPONENT)


def neighbour_queries(definition: Json, facts: Json) -> t.List[Json]:
    """How to find what others have in the accelerator's namespace; nothing when that is not there."""
    namespace, part_of = definition["namespace"], names.LABEL_PART_OF
    if namespace not in facts["namespaces"]:
        return []
    objects = _widest_objects(definition, facts, PARTS)
    kinds = dict.fromkeys(
        (item["apiVersion"], item["kind"]) for item in objects if item["metadata"].get("namespace") == namespace
    )
    return [query(*kind, namespace, part_of, f"{part_of}!={definition['name']}") for kind in kinds]


def given_back(definition: Json, facts: Json, neighbours: t.Iterable[Json]) -> t.List[Json]:
    """The namespace that was there before us as it was, unless an accelerator in it still needs what we wrote there."""
    if any((label(item, names.LABEL_MANAGED_BY) or "").startswith(names.OURS) for item in neighbours):
        return []
    return released(definition, facts)


__all__ = (
    "IMAGES",
    "given_back",
    "kept_queries",
    "key",
    "label",
    "neighbour_queries",
    "query",
    "surplus",
    "user_queries",
    "users",
    "widest",
)
