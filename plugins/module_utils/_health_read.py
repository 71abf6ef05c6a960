# SPDX-License-Identifier: Apache-2.0
"""Reads what _health judges, and waits for all to be well. PRIVATE to this collection."""

from __future__ import annotations

import time
import typing as t
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _health as health
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _leftovers as leftovers
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._cluster import (
    Api,
    ClusterError,
    Json,
    Refused,
    pause,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._plugin_reports import ASKED_AT_ONCE, ask

NODES = "/api/v1/nodes"
LOOK_AGAIN = 10  # seconds
FEW = 8  # nodes whose pods are asked for one by one


def selector(labels: t.Mapping[str, t.Any]) -> str:
    return ",".join(f"{key}={value}" for key, value in labels.items())


class Reader:
    """Reads nodes, pods and reports, and judges them."""

    def __init__(self, api: Api, params: Json) -> None:
        self.api = api
        self.rules = health.Rules(**{field: params[field] for field in health.Rules._fields})
        self.expected_nodes: t.Optional[int] = params["expected_nodes"]
        self._labels: t.Dict[str, str] = params["nodes"]
        self.selector = selector(self._labels)
        self._pods = f"/api/v1/namespaces/{params['namespace']}/pods"
        self._plugin_selector = selector(params["plugin_labels"])
        self._port: int = params["port"]

    def read(self, probe: str, lean: bool = False) -> t.Tuple[t.List[Json], str]:
        """The entries of all nodes, and the resource version of the list of nodes.

        lean: looks for plugins only where the node's numbers are not well.
        """
        nodes, version = self.api.pages(
            NODES, keep=lambda one: health.slim(one, self.rules), labelSelector=self.selector
        )
        suspects = [one["metadata"]["name"] for one in nodes if not health.well_by_numbers(one, self.rules)]
        plugins = self._plugins_on(suspects) if lean else self._plugins()
        pairs = [(node, plugins.get(node["metadata"]["name"])) for node in nodes]
        entries = [health.entry(node, plugin, None, self.rules, looked=not lean) for node, plugin in pairs]
        asked = [
            plugin.name
            for index, (_node, plugin) in enumerate(pairs)
            if plugin and plugin.ready and _is_asked(probe, entries[index])
        ]
        reports = ask(self.api, self.rules.namespace, self._port, asked)
        for index, (node, plugin) in enumerate(pairs):
            if plugin and plugin.name in reports:
                entries[index] = health.entry(node, plugin, reports[plugin.name], self.rules)
        return entries, version

    def leftovers(self, entries: t.Sequence[Json]) -> t.Tuple[t.List[Json], t.Optional[t.List[Json]]]:
        """Nodes with a resource that no plugin offers, also those that should have none; and rejected pods.

        The pods are None for a user who may not list those of all namespaces. What is asked for beside the health must
        not cost it: an API server that has no answer just now is no reason to fail.
        """
        api, resource = self.api, self.rules.resource
        found = {one["node"]: str(one["advertised"]) for one in entries if one["verdict"] == "stale"}
        rejected = None
        try:
            for others in leftovers.selectors_of_others(self._labels):
                found.update(leftovers.holders(api, resource, labelSelector=others))
            rejected = leftovers.rejected(api, resource)
        except ClusterError as error:
            if not error.passing and not (isinstance(error, Refused) and error.status == 403):
                raise
        # A node whose label came between the two lists is in both, and has its verdict.
        served = {one["node"] for one in entries if one["verdict"] != "stale"}
        stale = [{"node": node, "capacity": number} for node, number in sorted(found.items()) if node not in served]
        return stale, rejected

    def _plugins(self, **query: t.Any) -> t.Dict[str, health.Plugin]:
        pairs, _version = self.api.pages(self._pods, keep=health.placed, labelSelector=self._plugin_selector, **query)
        return health.by_node(pairs)

    def _plugins_on(self, nodes: t.Sequence[str]) -> t.Dict[str, health.Plugin]:
        """The plugins of some nodes: node by node while that is less than the list of all."""
        if len(nodes) > FEW:
            return self._plugins()
        with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
            found = list(pool.map(lambda node: self._plugins(fieldSelector=f"spec.nodeName={node}"), nodes))
        return {node: plugin for one in found for node, plugin in one.items()}

    def well(self, entries: t.Sequence[Json]) -> bool:
        return health.well(entries, self.expected_nodes)


def _is_asked(probe: str, entry: Json) -> bool:
    """Of a node that is not ready no pod answers: whoever asks there waits for nothing."""
    return probe == "all" or (probe == "suspect" and entry["verdict"] not in ("ok", "node_not_ready"))


def wait(reader: Reader, probe: str, timeout: float) -> t.Tuple[t.List[Json], float]:
    """Looks again whenever a node changes, until all is well or the time is over. Plugins are asked at the end only."""
    start = time.monotonic()
    answered = False
    while True:
        try:
            left = start + timeout - time.monotonic()
            entries, version = reader.read("none" if left > 0 else probe, lean=timeout <= 0 and probe != "all")
            answered = True
            if left > 0 and reader.well(entries):
                entries, version = reader.read(probe)
            if left <= 0 or reader.well(entries):
                return entries, time.monotonic() - start
            # Pods change without their node, so look again after a while in any case.
            for _event in reader.api.watch(NODES, version, min(left, LOOK_AGAIN), labelSelector=reader.selector):
                break
            pause(0.5)  # changes of several nodes often come together
        except ClusterError as error:
            if not answered or not error.passing or time.monotonic() - start > timeout:
                raise
            pause(1)


__all__ = ("Reader", "selector", "wait")
