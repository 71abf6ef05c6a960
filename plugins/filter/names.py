# SPDX-License-Identifier: Apache-2.0
"""Filters: the names, labels and image references that follow from an accelerator definition."""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names

Json = t.Dict[str, t.Any]


def names(definition: Json) -> Json:
    node_labels = _names.selector(definition)
    return {
        "node_labels": node_labels,
        "selector": [f"{key}={value}" for key, value in node_labels.items()],
        "tolerations": _names.tolerations(definition),
        "plugin_labels": _names.plugin_labels(definition),
        "pods": [f"{_names.LABEL_INSTANCE}={definition['name']}", f"{_names.BY_KMM}={definition['name']}"],
        "ready_label": _names.ready_label(definition),
        "version_label": _names.version_label(definition),
        "version_ready_label": _names.version_ready_label(definition),
        "offered": _names.offered(definition),
        "left_on_nodes": _names.left_on_nodes(definition),
        "consumer": _names.consumer(definition),
        "operator": _names.operator(definition),
    }


def driver_image(definition: Json) -> str:
    return _names.driver_image(definition)


def expected_nodes(definition: Json, facts: Json) -> t.List[str]:
    """Neither driver nor plugin goes on a node that is not ready, cordoned, or tainted, unless that is tolerated."""
    return _names.matching(definition, (node for node in facts["nodes"] if node["ready"] and node["schedulable"]))


def nodes_short_of_devices(definition: Json, facts: Json) -> t.List[str]:
    """Of the nodes that are counted on, those whose numbers, when they were read, were not as they should be."""
    resource, least = definition["resource"], _names.offered(definition) or 1
    expected = set(expected_nodes(definition, facts))

    def short(node: Json) -> bool:
        capacity, allocatable = (_names.count(node[which].get(resource, "0")) for which in ("capacity", "allocatable"))
        return not capacity == allocatable >= least

    return [node["name"] for node in facts["nodes"] if node["name"] in expected and short(node)]


def version_label_off(definition: Json, nodes: t.Iterable[Json]) -> t.List[Json]:
    """Patches; a label whose value is null goes, whoever wrote it."""
    label = _names.version_label(definition)
    labelled = [node["metadata"]["name"] for node in nodes if label in (node["metadata"].get("labels") or {})]
    return [{"apiVersion": "v1", "kind": "Node", "metadata": {"name": n, "labels": {label: None}}} for n in labelled]


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {
            "driver_image": driver_image,
            "expected_nodes": expected_nodes,
            "names": names,
            "nodes_short_of_devices": nodes_short_of_devices,
            "version_label_off": version_label_off,
        }
