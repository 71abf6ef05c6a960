# SPDX-License-Identifier: Apache-2.0
"""Reads the snapshot that _explain explains: lists in pages, of each object what is looked at. PRIVATE.

What this user may not list is left out and named; the links that need it are then unknown. Requests do not grow with
the nodes but for the pages, and for the device plugins that are asked: those on nodes that are not well.
"""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _explain as explain
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names as names
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _safe as safe
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._cluster import (
    Api,
    ClusterError,
    Json,
    Refused,
    Resource,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._explain import records
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._plugin_reports import ask

KMM, NFD = "kmm.sigs.x-k8s.io", ("nfd.k8s-sigs.io", "nfd.openshift.io")
NODES, PODS = "/api/v1/nodes", "/api/v1/pods"
NOT_RUNNING = "status.phase!=Running,status.phase!=Succeeded"
FEATURES_AT_ONCE = 50  # a NodeFeature is all that there is to see on a node: hundreds of kilobytes
Keep = t.Callable[[Json], t.Any]


class Reader:
    def __init__(self, api: Api, definition: Json) -> None:
        self.api, self.definition = api, definition
        self.namespace: str = definition["namespace"]
        self.served = [resource for found in api.discover().values() for resource in found]
        self.unread: t.Dict[str, str] = {}

    def kinds(self, kind: str, *groups: str) -> t.List[Resource]:
        """The resources of a kind, one a group: a CRD serves the same objects in each of its versions."""
        found = {one.group: one for one in self.served if one.kind == kind and one.group in groups}
        return list(found.values())

    def items(self, what: str, path: str, keep: Keep, **query: t.Any) -> t.List[t.Any]:
        """What is kept of a list; nothing of one that may not be read, which is then on record."""
        try:
            return self.api.pages(path, keep=keep, **query)[0]
        except Refused as error:
            if error.status not in (403, 404):
                raise
            self.unread[what] = str(error)
            return []

    def of_kind(
        self, kind: str, groups: t.Sequence[str], keep: Keep, everywhere: bool = False, **query: t.Any
    ) -> t.Any:
        found = []
        for one in self.kinds(kind, *groups):
            what = f"{one.plural}.{one.group}"
            found += self.items(what, one.path(None if everywhere else self.namespace), keep, **query)
        return found

    def snapshot(self) -> explain.Snapshot:
        """All but what must be read only when something is wrong."""
        name, namespace = self.definition["name"], self.namespace

        def config(item: Json) -> t.Tuple[str, records.NodeConfig]:
            return records.name_of(item), records.node_config(item, namespace, name)

        rules = self.of_kind("NodeFeatureRule", NFD, lambda i: (records.name_of(i), records.rule_labels(i)), True)
        images = self.of_kind("ModuleImagesConfig", [KMM], records.image_states)
        return explain.Snapshot(
            nodes=self.api.pages(NODES, keep=records.node)[0],
            apis=frozenset(f"{one.group}/{one.version}/{one.kind}" for one in self.served),
            rules=dict(rules),
            customs=self._customs(),
            modules=self.of_kind("Module", [KMM], records.module),
            images={image: state for item in images for image, state in item.items()},
            node_configs=dict(self.of_kind("NodeModulesConfig", [KMM], config, True)),
            daemon_sets=self.of_kind("DaemonSet", ["apps"], records.daemon_set),
            pods=self.items("pods", f"/api/v1/namespaces/{namespace}/pods", explain.pod),
            users=self.users([self.definition["resource"]], NOT_RUNNING),
        )

    def _customs(self) -> t.List[records.Custom]:
        if self.definition["managed_by"] != "operator":
            return []
        api = self.definition["operator"]["api"]
        return self.of_kind(api["kind"], [api["group"]], records.custom)

    def users(self, resources: t.Collection[str], selector: str) -> t.List[explain.Pod]:
        """The pods of the whole cluster that ask for a resource."""

        def keep(item: Json) -> t.Optional[explain.Pod]:
            made = explain.pod(item)
            return made if set(resources) & set(made.wants) else None

        return self.items("pods of all namespaces", PODS, keep, fieldSelector=selector)

    def features(self) -> t.Dict[str, bool]:
        """Node -> whether NFD's worker saw the hardware there; several NodeFeatures may be of one node."""
        hardware: Json = self.definition["hardware"]
        found: t.Dict[str, bool] = {}

        def keep(item: Json) -> t.Tuple[str, bool]:
            node = safe.text(item, "metadata", "labels", "nfd.node.kubernetes.io/node-name") or records.name_of(item)
            return node, records.has_hardware(item, hardware)

        for node, has in self.of_kind("NodeFeature", NFD, keep, True, limit=FEATURES_AT_ONCE):
            found[node] = found.get(node, False) or has
        return found

    def pod(self, title: str) -> explain.Pod:
        namespace, slash, name = title.partition("/")
        if not (slash and namespace and name) or "/" in name:
            raise ClusterError(
                f"pod: expected namespace/name, seen {title}; next: kubectl get pods -A --field-selector {NOT_RUNNING}"
            )
        try:
            return explain.pod(self.api.get(f"/api/v1/namespaces/{namespace}/pods/{name}"))
        except Refused as error:
            if error.status != 404:
                raise
            raise ClusterError(
                f"pod: expected {title} to be there, seen no such pod; next: kubectl -n {namespace} get pods"
            ) from None


def read(api: Api, definition: Json, title: t.Optional[str] = None) -> explain.Explained:
    """The whole cluster, or why one pod does not start."""
    reader = Reader(api, definition)
    asked = [reader.pod(title)] if title else None
    snapshot = reader.snapshot()
    unlabelled = any(not _labelled(node, definition) for node in snapshot.nodes)
    if unlabelled and not definition["hardware"].get("node_label"):
        snapshot = snapshot._replace(features=reader.features())
    waiting = asked or [pod for pod in snapshot.users if not pod.node]
    wanted = {resource for pod in waiting for resource in pod.wants}
    if wanted:
        others = reader.users(wanted, "") if title else reader.users(wanted, "status.phase=Running")
        # A pod that started between the two lists is in both.
        users = {pod.title: pod for pod in [*([] if title else snapshot.users), *others]}
        snapshot = snapshot._replace(users=list(users.values()))
    snapshot = snapshot._replace(unread=reader.unread)
    pods = explain.suspects(definition, snapshot)
    snapshot = snapshot._replace(reports=ask(api, definition["namespace"], names.DEVICE_PLUGIN_PORT, pods))
    return explain.explain(definition, snapshot, asked)


def _labelled(node: records.Node, definition: Json) -> bool:
    return names.hardware_labels(definition).items() <= node.labels.items()


__all__ = ("Reader", "read")
