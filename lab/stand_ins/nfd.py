# SPDX-License-Identifier: Apache-2.0
"""Plays Node Feature Discovery: operator, worker and master. What it makes of a node's hardware is in features.py.

NodeFeatureDiscovery -> NodeFeature/<node> -> labels on the Node, as facts.md "What NFD does" says.
"""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Callable
from typing import Any

from stand_ins.controller import Controller, now
from stand_ins.features import READ_NODE, WorkerConfig, own_labels, parse, rule_labels
from stand_ins.kube import NODES, Kube, Object, Resource, key

log = logging.getLogger(__name__)

DISCOVERIES = Resource("nfd.openshift.io/v1", "nodefeaturediscoveries", "NodeFeatureDiscovery")
RULES = Resource("nfd.openshift.io/v1alpha1", "nodefeaturerules", "NodeFeatureRule")
FEATURES = Resource("nfd.k8s-sigs.io/v1alpha1", "nodefeatures", "NodeFeature")
MANAGER = "nfd-stand-in"
FINALIZER = "nfd.openshift.io/stand-in"
LABELS_LIST = "nfd.node.kubernetes.io/feature-labels"  # facts.md: "lists its own in the annotation"
NODE_NAME = "nfd.node.kubernetes.io/node-name"

# Runs a shell command in a node and returns what it printed.
NodeRunner = Callable[[str, str], str]


class Nfd(Controller):
    name = "nfd"

    def __init__(self, kube: Kube, run_in_node: NodeRunner) -> None:
        super().__init__(kube)
        self._run_in_node = run_in_node
        self._discoveries, self._rules = self.store(DISCOVERIES), self.store(RULES)
        self._features, self._nodes = self.store(FEATURES), self.store(NODES)
        self._read: dict[str, tuple[str, float, Object]] = {}  # node -> boot, time, features

    def reconcile(self) -> None:
        if self.fault("nfd-silent"):
            return
        for discovery in self._discoveries.all():
            if "deletionTimestamp" in discovery["metadata"]:
                self._remove(discovery)
        alive = [d for d in self._discoveries.all() if "deletionTimestamp" not in d["metadata"]]
        if not alive:
            self.resync = None
            return
        self._keep(alive[0])

    def _keep(self, discovery: Object) -> None:
        config = WorkerConfig(discovery["spec"].get("workerConfig", {}).get("configData", ""))
        self.resync = config.interval or None
        if FINALIZER not in discovery["metadata"].get("finalizers", []):
            self._set_finalizers(discovery, [*discovery["metadata"].get("finalizers", []), FINALIZER])
        rules = [rule for obj in sorted(self._rules.all(), key=key) for rule in obj["spec"]["rules"]]
        for node in self._nodes.all():
            self.attempt(self._keep_node, discovery, config, rules, node)
        self._report(discovery)

    def _keep_node(self, discovery: Object, config: WorkerConfig, rules: list[Object], node: Object) -> None:
        features = self._node_features(node, config)
        if features is not None:
            labels = own_labels(features, config)
            self._write_feature(discovery, node, features, labels)
            self._label(node, labels | rule_labels(rules, features))

    def _node_features(self, node: Object, config: WorkerConfig) -> Object | None:
        """Read again after a boot, and every core.sleepInterval as the worker does. Not from an unready node."""
        name, boot = node["metadata"]["name"], node["status"]["nodeInfo"]["bootID"]
        read = self._read.get(name)
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", []))
        if ready and (not read or read[0] != boot or time.monotonic() - read[1] >= (config.interval or float("inf"))):
            try:
                read = boot, time.monotonic(), parse(self._run_in_node(name, READ_NODE))
            except (subprocess.SubprocessError, OSError, ValueError) as error:
                raise OSError(f"node {name}: could not read its features: {error}") from error
            self._read[name] = read
        return read[2] if read else None

    def _write_feature(self, discovery: Object, node: Object, features: Object, labels: dict[str, str]) -> None:
        namespace, name = discovery["metadata"]["namespace"], node["metadata"]["name"]
        spec = {"features": features, "labels": labels}
        seen = self._features.get(name, namespace)
        if seen is None or seen["spec"] != spec:
            wanted = FEATURES.new(name, namespace, spec=spec)
            wanted["metadata"]["labels"] = {NODE_NAME: name}
            self.kube.apply(FEATURES, wanted, MANAGER)

    def _label(self, node: Object, wanted: dict[str, str]) -> None:
        """Labels that NFD listed as its own and no longer wants go; no other label is touched."""
        meta = node["metadata"]
        seen = meta.get("labels", {})
        listed = meta.get("annotations", {}).get(LABELS_LIST, "")
        names = ",".join(sorted(name.removeprefix("feature.node.kubernetes.io/") for name in wanted))
        own = {n if "/" in n else f"feature.node.kubernetes.io/{n}" for n in listed.split(",") if n}
        patch: dict[str, Any] = {name: None for name in own - set(wanted) if name in seen}
        patch |= {name: value for name, value in wanted.items() if seen.get(name) != value}
        if patch or listed != names:
            annotations = {LABELS_LIST: names or None}
            self.kube.merge(NODES, node, {"metadata": {"labels": patch, "annotations": annotations}})
            log.info("node %s: labels %s", meta["name"], _brief(patch))

    def _remove(self, discovery: Object) -> None:
        """The labels stay after NFD, unless spec.prunerOnDelete says otherwise."""
        namespace = discovery["metadata"]["namespace"]
        if discovery["spec"].get("prunerOnDelete"):
            for node in self._nodes.all():
                self._label(node, {})
        for feature in self._features.all():
            if feature["metadata"]["namespace"] == namespace:
                self.kube.delete(FEATURES, feature["metadata"]["name"], namespace)
        self._read.clear()
        others = [f for f in discovery["metadata"].get("finalizers", []) if f != FINALIZER]
        self._set_finalizers(discovery, others)

    def _set_finalizers(self, discovery: Object, finalizers: list[str]) -> None:
        version = discovery["metadata"]["resourceVersion"]
        patch = {"metadata": {"finalizers": finalizers or None, "resourceVersion": version}}
        self.kube.merge(DISCOVERIES, discovery, patch)

    def _report(self, discovery: Object) -> None:
        """NodeFeatureDiscovery.status.conditions."""
        if any(c["type"] == "Available" for c in discovery.get("status", {}).get("conditions", [])):
            return
        reason = {"reason": "AllInstanceComponentsAreReady", "lastTransitionTime": now(), "message": ""}
        states = {"Available": "True", "Upgradeable": "True", "Progressing": "False", "Degraded": "False"}
        conditions = [{"type": t, "status": s, **reason} for t, s in states.items()]
        namespace, name = key(discovery)
        status = DISCOVERIES.new(name, namespace, status={"conditions": conditions})
        self.kube.apply(DISCOVERIES, status, MANAGER, "status")


def _brief(patch: dict[str, Any]) -> str:
    names = [("-" if value is None else "+") + name.partition("/")[2] for name, value in sorted(patch.items())]
    return " ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
