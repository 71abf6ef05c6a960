# SPDX-License-Identifier: Apache-2.0
"""What was read back -> how far the chain reaches: nodes, driver, device plugin, devices, consumer. Pure.

The first link that fails is the one that the status names; what comes after it could not work anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests import _taints

from accelerator_operator.conditions import Verdict
from accelerator_operator.objects import (
    Obj,
    component_of,
    key,
    pod_is_running,
    pod_problem,
)
from accelerator_operator.reconcile import Observed, Wanted


@dataclass(frozen=True)
class Scene:
    """What all links look at."""

    definition: Obj
    namespace: str
    name: str
    live: dict[tuple[str, str], Obj]
    wanted: set[tuple[str, str]]
    selector: dict[str, str]
    all_nodes: int
    matching: list[Obj]
    pods: list[Obj]

    def of(self, component: str) -> list[Obj]:
        return [pod for pod in self.pods if component_of(pod, self.name) == component]

    def problem(self, component: str) -> str | None:
        return next((problem for problem in map(pod_problem, self.of(component)) if problem), None)


def assess(want: Wanted, observed: Observed) -> tuple[Verdict, Obj]:
    """The verdict, and the counts of the status."""
    scene = _scene(want, observed)
    verdict = next((verdict for link in CHAIN if (verdict := link(scene))), None)
    counts = _counts(scene)
    if verdict is None:
        devices = counts["devices"]
        message = (
            f"{devices['allocatable']} {want.definition['resource']} allocatable on "
            f"{counts['nodes']['devicesReady']} node(s)"
        )
        if ("Deployment", _names.consumer(want.definition)) in scene.wanted:
            message += f"; consumer running: {', '.join(counts['consumers'])}"
        verdict = Verdict(ready=True, reason="AsExpected", message=message)
    return verdict, counts


def _scene(want: Wanted, observed: Observed) -> Scene:
    module = next(obj for obj in want.objects if obj["kind"] == "Module")
    selector = module["spec"]["selector"]
    # A taint that the Module does not tolerate also unloads the driver, but for those that KMM itself tolerates.
    tolerations = [*module["spec"].get("tolerations", []), *_taints.PRESSURE]
    matching = [
        node
        for node in observed.nodes
        if not _taints.untolerated(node["taints"], tolerations)
        and all(node["labels"].get(name) == value for name, value in selector.items())
    ]
    return Scene(
        definition=want.definition,
        namespace=want.definition["namespace"],
        name=want.definition["name"],
        live={key(obj): obj for obj in observed.objects},
        wanted={key(obj) for obj in want.objects},
        selector=selector,
        all_nodes=len(observed.nodes),
        matching=sorted(matching, key=lambda node: node["name"]),
        pods=observed.pods,
    )


def _is_loaded(definition: Obj, node: Obj) -> bool:
    """By KMM's labels; the second, with the version, tells a driver that is about to be replaced (old KMMs lack it)."""
    ready = _names.ready_label(definition)
    version = node["labels"].get(_names.version_ready_label(definition), definition["driver"]["version"])
    return ready in node["labels"] and version == definition["driver"]["version"]


def _pending(reason: str, message: str, problem: str | None = None) -> Verdict:
    return Verdict(False, reason, f"{message}; {problem}" if problem else message, failed=problem is not None)


def _some(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _nodes(scene: Scene) -> Verdict | None:
    if scene.matching:
        return None
    selector = ",".join(f"{name}={value}" for name, value in sorted(scene.selector.items()))
    return Verdict(
        False,
        "NoMatchingNodes",
        f"nodes: expected at least 1 schedulable with {selector}, seen 0 of {scene.all_nodes}; "
        f"see kubectl get nodes -l {selector} and kubectl get nodefeatures,nodefeaturerules -A",
        failed=True,
    )


def _driver(scene: Scene) -> Verdict | None:
    missing = [node["name"] for node in scene.matching if not _is_loaded(scene.definition, node)]
    status = scene.live.get(("Module", scene.name), {}).get("status", {}).get("moduleLoader", {})
    desired, available = status.get("desiredNumber", 0), status.get("availableNumber", 0)
    if not missing and available == desired > 0:
        return None
    where = f"node {_some(missing)}: " if missing else ""
    return _pending(
        "ModuleNotLoaded",
        f"{where}driver {scene.definition['driver']['module']} expected on {len(scene.matching)} node(s), "
        f"KMM wants it on {desired} and has it on {available}; "
        f"see kubectl -n {scene.namespace} get pods and kubectl get nodemodulesconfigs -o yaml",
        scene.problem("driver"),
    )


def _is_observed(live: Obj) -> bool:
    """Whether the status speaks of the object as it is now written."""
    return live.get("status", {}).get("observedGeneration", 0) >= live.get("metadata", {}).get("generation", 0)


def _device_plugin(scene: Scene) -> Verdict | None:
    name = _names.device_plugin(scene.definition)
    if ("DaemonSet", name) not in scene.wanted:
        return None  # KMM's own DaemonSet: its devices are counted below
    live = scene.live.get(("DaemonSet", name), {})
    status = live.get("status", {})
    current = _is_observed(live)
    desired, ready = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
    updated = status.get("updatedNumberScheduled", 0)
    if current and ready == updated == desired > 0:
        return None
    return _pending(
        "DevicePluginNotReady",
        f"DaemonSet {name}: expected {len(scene.matching)} ready pod(s), seen {ready} ready and {updated} "
        f"up to date of {desired}; see kubectl -n {scene.namespace} describe daemonset {name}",
        scene.problem("device-plugin"),
    )


def _devices(scene: Scene) -> Verdict | None:
    resource, expected = scene.definition["resource"], _per_node(scene.definition)
    lacking = [node for node in scene.matching if not _devices_ready(scene.definition, node)]
    if not lacking:
        return None
    seen = _allocatable(scene.definition, lacking[0])
    return _pending(
        "DevicesMissing",
        f"node {_some([node['name'] for node in lacking])}: expected {expected} {resource} allocatable, seen {seen}"
        f"{'' if lacking[0]['ready'] else ' (the node is not ready)'}; see kubectl describe node "
        f"{lacking[0]['name']} and kubectl -n {scene.namespace} logs -l {_names.LABEL_INSTANCE}={scene.name}",
        scene.problem("device-plugin"),
    )


def _consumer(scene: Scene) -> Verdict | None:
    name = _names.consumer(scene.definition)
    if ("Deployment", name) not in scene.wanted:
        return None
    live = scene.live.get(("Deployment", name), {})
    status = live.get("status", {})
    current = _is_observed(live)
    replicas = live.get("spec", {}).get("replicas", 1)
    available, updated = status.get("availableReplicas", 0), status.get("updatedReplicas", 0)
    if current and available == updated == replicas:
        return None
    return _pending(
        "ConsumerNotRunning",
        f"Deployment {name}: expected {replicas} pod(s), seen {available} available and {updated} up to date; "
        f"see kubectl -n {scene.namespace} describe deployment {name}",
        scene.problem("consumer"),
    )


Link = Callable[[Scene], Verdict | None]
CHAIN: tuple[Link, ...] = (_nodes, _driver, _device_plugin, _devices, _consumer)


def _per_node(definition: Obj) -> int:
    return _names.offered(definition) or 1


def _allocatable(definition: Obj, node: Obj) -> int:
    return _names.count(node["allocatable"].get(definition["resource"], 0))


def _devices_ready(definition: Obj, node: Obj) -> bool:
    return node["ready"] and _allocatable(definition, node) >= _per_node(definition)


def _counts(scene: Scene) -> dict[str, Any]:
    definition = scene.definition
    return {
        "consumers": sorted(pod["metadata"]["name"] for pod in scene.of("consumer") if pod_is_running(pod)),
        "nodes": {
            "matching": len(scene.matching),
            "moduleLoaded": sum(_is_loaded(definition, node) for node in scene.matching),
            "devicesReady": sum(_devices_ready(definition, node) for node in scene.matching),
        },
        "devices": {
            "expected": _per_node(definition) * len(scene.matching),
            "allocatable": sum(_allocatable(definition, node) for node in scene.matching),
        },
    }
