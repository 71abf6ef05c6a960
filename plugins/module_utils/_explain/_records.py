# SPDX-License-Identifier: Apache-2.0
"""What is kept of each object that the chain is read from: plain records, made while pages are read. Pure. PRIVATE.

An object as the API server sends it is ten times what is looked at here, and of 5,000 nodes it is all in memory.
"""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _safe as safe
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._health import Report
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests._taints import Taint, repelling

Json = t.Dict[str, t.Any]


class Node(t.NamedTuple):
    name: str
    labels: t.Dict[str, str]
    ready: bool
    ready_message: str
    linux: bool
    kernel: str
    boot_id: str
    taints: t.List[Taint]  # that keep pods away, a cordon among them
    capacity: t.Dict[str, int]  # of extended resources
    allocatable: t.Dict[str, int]


class Placed(t.NamedTuple):
    """One module in a NodeModulesConfig, wanted or loaded."""

    kernel: str
    image: str
    version: str
    boot_id: str
    config: Json


class NodeConfig(t.NamedTuple):
    wanted: t.Optional[Placed]
    loaded: t.Optional[Placed]


class Mapping(t.NamedTuple):
    """Kernels -> image, as a Module has it."""

    literal: str
    regexp: str
    image: str


class Module(t.NamedTuple):
    name: str
    going: bool
    selector: t.Dict[str, str]
    tolerations: t.List[Json]
    version: str
    mappings: t.List[Mapping]


class Custom(t.NamedTuple):
    """The operator's custom resource."""

    name: str
    going: bool
    selector: t.Dict[str, str]
    generation: int
    observed: int
    degraded: str  # reason and message, while it is so
    spec: Json


class DaemonSet(t.NamedTuple):
    name: str
    labels: t.Dict[str, str]
    selector: t.Dict[str, str]
    desired: int
    ready: int


class Snapshot(t.NamedTuple):
    """All that is read of a cluster, once. unread: what could not be listed -> why. pods: of the namespace;
    users: pods anywhere that ask for the resource; features: node -> whether NFD saw the hardware there.
    """

    nodes: t.List[Node] = []
    apis: t.FrozenSet[str] = frozenset()
    features: t.Dict[str, bool] = {}
    rules: t.Dict[str, t.List[t.Dict[str, str]]] = {}
    customs: t.List[Custom] = []
    modules: t.List[Module] = []
    images: t.Dict[str, str] = {}
    node_configs: t.Dict[str, NodeConfig] = {}
    daemon_sets: t.List[DaemonSet] = []
    pods: t.List[t.Any] = []
    users: t.List[t.Any] = []
    reports: t.Dict[str, Report] = {}
    unread: t.Dict[str, str] = {}


def name_of(item: Json) -> str:
    return safe.text(item, "metadata", "name")


def going(item: Json) -> bool:
    return bool(safe.at(item, "metadata", "deletionTimestamp"))


def extended(counts: t.Any) -> t.Dict[str, int]:
    """The extended resources among a node's, or a container's: those with a domain that is not Kubernetes' own."""
    found = {name: safe.whole(counts, name) for name in safe.mapping(counts) if is_extended(str(name))}
    return {name: number for name, number in found.items() if number is not None}


def is_extended(resource: str) -> bool:
    domain, slash, _name = resource.partition("/")
    return bool(slash) and domain != "kubernetes.io" and not domain.endswith(".kubernetes.io")


def node(item: Json) -> Node:
    conditions = safe.mappings(item, "status", "conditions")
    said = next((one for one in conditions if one.get("type") == "Ready"), {})
    info = safe.mapping(item, "status", "nodeInfo")
    return Node(
        name=name_of(item),
        labels=safe.texts(item, "metadata", "labels"),
        ready=said.get("status") == "True",
        ready_message=safe.text(said, "message") or safe.text(said, "reason") or "no condition Ready",
        linux=(safe.text(info, "operatingSystem") or "linux") == "linux",
        kernel=safe.text(info, "kernelVersion"),
        boot_id=safe.text(info, "bootID"),
        taints=repelling(safe.mapping(item, "spec")),
        capacity=extended(safe.at(item, "status", "capacity")),
        allocatable=extended(safe.at(item, "status", "allocatable")),
    )


def _placed(entries: t.List[Json], namespace: str, name: str) -> t.Optional[Placed]:
    for one in entries:
        if (one.get("namespace"), one.get("name")) == (namespace, name):
            config = safe.mapping(one, "config")
            return Placed(
                kernel=safe.text(config, "kernelVersion"),
                image=safe.text(config, "containerImage"),
                version=safe.text(one, "version"),
                boot_id=safe.text(one, "bootId"),
                config=config,
            )
    return None


def node_config(item: Json, namespace: str, name: str) -> NodeConfig:
    return NodeConfig(
        _placed(safe.mappings(item, "spec", "modules"), namespace, name),
        _placed(safe.mappings(item, "status", "modules"), namespace, name),
    )


def module(item: Json) -> Module:
    container = safe.mapping(item, "spec", "moduleLoader", "container")
    default = safe.text(container, "containerImage")
    return Module(
        name=name_of(item),
        going=going(item),
        selector=safe.texts(item, "spec", "selector"),
        tolerations=safe.mappings(item, "spec", "tolerations"),
        version=safe.text(container, "version"),
        mappings=[
            Mapping(safe.text(one, "literal"), safe.text(one, "regexp"), safe.text(one, "containerImage") or default)
            for one in safe.mappings(container, "kernelMappings")
        ],
    )


def custom(item: Json) -> Custom:
    conditions = safe.mappings(item, "status", "conditions")
    bad = next((one for one in conditions if one.get("type") == "Degraded" and one.get("status") == "True"), {})
    return Custom(
        name=name_of(item),
        going=going(item),
        selector=safe.texts(item, "spec", "selector"),
        generation=safe.whole(item, "metadata", "generation") or 0,
        observed=safe.whole(item, "status", "observedGeneration") or 0,
        degraded=": ".join(filter(None, (safe.text(bad, "reason"), safe.text(bad, "message")))),
        spec=safe.mapping(item, "spec"),
    )


def daemon_set(item: Json) -> DaemonSet:
    return DaemonSet(
        name=name_of(item),
        labels=safe.texts(item, "metadata", "labels"),
        selector=safe.texts(item, "spec", "template", "spec", "nodeSelector"),
        desired=safe.whole(item, "status", "desiredNumberScheduled") or 0,
        ready=safe.whole(item, "status", "numberReady") or 0,
    )


def rule_labels(item: Json) -> t.List[t.Dict[str, str]]:
    """The labels of each rule in a NodeFeatureRule."""
    return [safe.texts(rule, "labels") for rule in safe.mappings(item, "spec", "rules")]


def image_states(item: Json) -> t.Dict[str, str]:
    """Image -> state, of a ModuleImagesConfig."""
    states = safe.mappings(item, "status", "imagesStates")
    return {safe.text(one, "image"): safe.text(one, "status") for one in states}


def has_hardware(item: Json, hardware: Json) -> bool:
    """Whether a NodeFeature, which is all that NFD's worker saw on a node, shows the hardware."""
    features = safe.mapping(item, "spec", "features")
    pci = safe.mapping(hardware, "pci")
    if pci:
        wanted = {key: pci[key] for key in ("vendor", "device", "class") if pci.get(key)}
        elements = safe.mappings(features, "instances", "pci.device", "elements")
        return any(wanted.items() <= safe.texts(one, "attributes").items() for one in elements)
    name = safe.text(hardware, "loaded_module").replace("-", "_")
    if name:
        return name in safe.mapping(features, "flags", "kernel.loadedmodule", "elements")
    return safe.text(hardware, "cpu_feature") in safe.mapping(features, "flags", "cpu.cpuid", "elements")
