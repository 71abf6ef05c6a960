# SPDX-License-Identifier: Apache-2.0
"""Links of the chain: custom resource, Module, its selector, the image, NodeModulesConfig, the loaded module.

Pure. PRIVATE. KMM's rules as facts of the real operator have them: a taint that the Module does not tolerate, a plain
cordon too, unloads the driver; with a version nothing is loaded on a node without the label of that version.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names as names
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._explain._finding import (
    UNKNOWN,
    Cluster,
    Finding,
    Scene,
    broken,
    fine,
    unread,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._explain._pods import unmatched
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._explain._records import (
    Module,
    Placed,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests._taints import (
    CORDON,
    PRESSURE,
    Taint,
    untolerated,
)

MODULES = "modules.kmm.sigs.x-k8s.io"
IMAGES = "moduleimagesconfigs.kmm.sigs.x-k8s.io"
CONFIGS = "nodemodulesconfigs.kmm.sigs.x-k8s.io"


def custom_resource(scene: Scene) -> Finding:
    """Whether the operator is asked for this accelerator, and has looked at what it is asked for."""
    cluster, api = scene.cluster, scene.cluster.definition["operator"]["api"]
    kind = f"{api['plural']}.{api['group']}"
    where, look = f"{api['kind']}/{cluster.namespace}/{cluster.name}", cluster.kubectl(f"get {kind} -o yaml")
    if cluster.unread(kind):
        return unread(kind, cluster.unread(kind))
    found = cluster.custom
    if found is None:
        return broken(where, "", "not there", "the custom resource", "create it", cluster.play("operator"))
    if found.going:
        fix = "wait for its end, then create it again; what holds it stands in its finalizers"
        return broken(where, "metadata.deletionTimestamp", "being deleted", "no deletion", fix, look)
    if found.observed < found.generation:
        return _operator_silent(scene, where)
    if found.degraded.startswith("InvalidSpec"):
        fix = "mend the field that the message names"
        return broken(where, "status.conditions[Degraded]", found.degraded, "a spec that holds", fix, look)
    return fine(where, "status.observedGeneration", found.observed)


def _operator_silent(scene: Scene, where: str) -> Finding:
    cluster = scene.cluster
    name = names.operator(cluster.definition)
    pod = next((p for p in cluster.snapshot.pods if p.labels.get(names.LABEL_NAME) == name), None)
    custom = cluster.custom
    seen = f"{custom.observed} of generation {custom.generation}" if custom else ""
    state = "no pod of it" if pod is None else f"pod {pod.name}: {'ready' if pod.ready else pod.trouble}"
    return broken(
        where,
        "status.observedGeneration",
        f"{seen}; operator: {state}",
        "the operator to have looked at the newest generation",
        "bring the operator back: nobody acts on the custom resource",
        cluster.kubectl(f"logs deployment/{name} --tail=30" if pod else f"describe deployment {name}"),
    )


def module(scene: Scene) -> Finding:
    cluster = scene.cluster
    where = f"Module/{cluster.namespace}/{cluster.name}"
    if not any(api.endswith("/Module") for api in cluster.snapshot.apis):
        return broken(where, "", "the API has no such kind", "KMM", "install KMM", cluster.play("kmm"))
    if cluster.unread(MODULES):
        return unread(MODULES, cluster.unread(MODULES))
    found = cluster.module
    operator = cluster.definition["managed_by"] == "operator"
    if found is None:
        log = cluster.kubectl(f"logs deployment/{names.operator(cluster.definition)} --tail=30")
        fix = "see why the operator does not write it" if operator else "apply it again"
        return broken(where, "", "not there", "the Module", fix, log if operator else cluster.play("kmm"))
    if found.going:
        return broken(
            where,
            "metadata.deletionTimestamp",
            "being deleted",
            "no deletion",
            "end the pods that hold devices: KMM unloads the driver, and lets the Module go, when there are none",
            "kubectl get nodemodulesconfigs -o yaml",
        )
    return fine(where, "metadata.name", cluster.name)


def selector(scene: Scene) -> Finding:
    """Whether KMM wants the driver on this node: labels, taints, and the label of the version."""
    cluster, node, found = scene.cluster, scene.node, scene.cluster.module
    where = f"Module/{cluster.namespace}/{cluster.name}"
    if found is None:
        return Finding(UNKNOWN, where, "spec.selector", "not read")
    missing = unmatched(node.labels, found.selector)
    if missing:
        return broken(
            where,
            "spec.selector",
            f"wants {', '.join(missing)}, which {node.name} lacks",
            "labels that the node has",
            "mend the selector of the Module (of the custom resource, if the operator writes it), or label the node",
            f"kubectl get node {node.name} --show-labels",
        )
    taints = untolerated(node.taints, [*found.tolerations, *PRESSURE])
    if taints and not _is_loaded(scene):
        return _tainted(scene, where, taints)
    label = names.version_label(cluster.definition)
    if found.version and node.labels.get(label) != found.version and not _is_loaded(scene):
        return broken(
            scene.where,
            f"metadata.labels[{label}]",
            node.labels.get(label, "not there"),
            found.version,
            "KMM loads no other version than the label names: let its writer set it",
            f"kubectl label --overwrite node {node.name} {label}={found.version}",
        )
    return fine(where, "spec.selector", "selects the node")


def _tainted(scene: Scene, where: str, taints: t.List[Taint]) -> Finding:
    cordoned = any(taint.key == CORDON for taint in taints)
    return broken(
        scene.where,
        "spec.unschedulable" if cordoned else "spec.taints",
        ", ".join(map(str, taints)),
        f"taints that {where} tolerates",
        "uncordon the node: KMM unloads the driver from a node that is cordoned"
        if cordoned
        else "take the taint off, or name it in the definition's tolerations and play again: KMM loads nothing there",
        f"kubectl uncordon {scene.node.name}" if cordoned else f"kubectl describe node {scene.node.name}",
    )


def image(scene: Scene) -> Finding:
    """The image for the node's kernel, and whether KMM could pull it."""
    cluster, found, kernel = scene.cluster, scene.cluster.module, scene.node.kernel
    where = f"Module/{cluster.namespace}/{cluster.name}"
    if found is None:
        return Finding(UNKNOWN, where, "spec.moduleLoader", "not read")
    wanted = image_for(found, kernel, cluster)
    if wanted is None:
        return broken(
            where,
            "spec.moduleLoader.container.kernelMappings",
            f"nothing for kernel {kernel or 'unknown'}",
            "a mapping that fits the node's kernel",
            "add a mapping, and build the driver for this kernel",
            cluster.play("driver_build"),
        )
    state = cluster.snapshot.images.get(wanted)
    where = f"ModuleImagesConfig/{cluster.namespace}/{cluster.name}"
    if state == "Exists" or _is_pulled(scene, wanted):
        return fine(where, "status.imagesStates", wanted)
    if cluster.unread(IMAGES):
        return unread(IMAGES, cluster.unread(IMAGES))
    puller = next((pod for pod in cluster.pullers if pod.trouble and wanted in pod.trouble), None)
    puller = puller or next(iter(cluster.pullers), None)
    said = f"; {puller.name}: {puller.unscheduled or puller.trouble}" if puller else ""
    # https://github.com/kubernetes-sigs/kernel-module-management/issues/1314
    nowhere = (
        "let one node take the pod that looks for the image: before the fix of KMM's issue 1314 it tolerates nothing"
    )
    absent = "build and push the driver for this kernel, or give the pull secret that the registry asks for"
    return broken(
        where,
        "status.imagesStates",
        f"{wanted}: {state or 'no state'}{said}",
        "Exists",
        nowhere if puller and puller.unscheduled else absent,
        cluster.kubectl(f"describe pod {puller.name}") if puller else cluster.play("driver_build"),
    )


def _is_pulled(scene: Scene, wanted: str) -> bool:
    """KMM leaves what it had wanted, for an earlier kernel perhaps, until it has seen the image for this one."""
    if scene.cluster.unread(CONFIGS):
        return _is_loaded(scene)
    config = scene.config
    return bool(config and config.wanted and config.wanted.image == wanted)


def image_for(found: Module, kernel: str, cluster: Cluster) -> t.Optional[str]:
    """As KMM does: the first mapping whose literal is, or whose expression finds, the kernel."""
    plain = kernel.removesuffix("+")
    for mapping in found.mappings:
        if plain and (mapping.literal == plain or (mapping.regexp and _finds(mapping.regexp, plain))):
            made = names.driver_for_kernel(mapping.image, kernel)
            return made.replace("${MOD_NAME}", found.name).replace("${MOD_NAMESPACE}", cluster.namespace)
    return None


def _finds(expression: str, text: str) -> bool:
    try:
        return bool(re.search(expression, text))
    except (re.error, OverflowError, RecursionError):
        return False


def node_config(scene: Scene) -> Finding:
    """What KMM has written down for this node."""
    cluster, config, kernel = scene.cluster, scene.config, scene.node.kernel.removesuffix("+")
    where = f"NodeModulesConfig/{scene.node.name}"
    if cluster.unread(CONFIGS):
        return unread(CONFIGS, cluster.unread(CONFIGS))
    fix = "KMM has not followed the Module: see its operator's log"
    if config is None or config.wanted is None:
        seen = "not there" if config is None else f"no module {cluster.namespace}/{cluster.name}"
        return broken(where, "spec.modules", seen, "an entry for the Module", fix, _kmm_log(cluster))
    if config.wanted.kernel != kernel:
        expected = f"the node's kernel {kernel}"
        return broken(
            where, "spec.modules[].config.kernelVersion", config.wanted.kernel, expected, fix, _kmm_log(cluster)
        )
    return fine(where, "spec.modules", config.wanted.image)


def loaded(scene: Scene) -> Finding:
    """Whether the module that is wanted is loaded since this boot, by KMM's record and by its labels."""
    cluster, node, config = scene.cluster, scene.node, scene.config
    where = f"NodeModulesConfig/{node.name}"
    if config is None or config.wanted is None:
        return Finding(UNKNOWN, where, "status.modules", "not read")
    lacking = _lacking(scene, config.wanted, config.loaded)
    if lacking:
        return _not_loaded(scene, where, *lacking)
    label = names.ready_label(cluster.definition)
    if label not in node.labels:
        fix = "KMM has loaded the module and not labelled the node: see its operator's log"
        return broken(scene.where, f"metadata.labels[{label}]", "not there", "the label", fix, _kmm_log(cluster))
    version = names.version_ready_label(cluster.definition)
    wanted = config.wanted.version
    if wanted and version in node.labels and node.labels[version] != wanted:
        fix = "wait for KMM to replace the driver, or end the pods that hold devices of the old one"
        command = cluster.kubectl(f"get pods -o wide --field-selector spec.nodeName={node.name}")
        return broken(scene.where, f"metadata.labels[{version}]", node.labels[version], wanted, fix, command)
    return fine(scene.where, f"metadata.labels[{label}]", wanted or "there")


def _lacking(scene: Scene, wanted: Placed, seen: t.Optional[Placed]) -> t.Optional[t.Tuple[str, str, str]]:
    """field, seen, expected of what the record of the loaded module lacks."""
    if seen is None:
        return "status.modules", "no entry: not loaded", f"{wanted.image} loaded"
    if seen.boot_id and scene.node.boot_id and seen.boot_id != scene.node.boot_id:
        return "status.modules[].bootId", f"{seen.boot_id}, an earlier boot", scene.node.boot_id
    if seen.config != wanted.config:
        changed = sorted(
            key for key in {*seen.config, *wanted.config} if seen.config.get(key) != wanted.config.get(key)
        )
        return "status.modules[].config", f"loaded with another {', '.join(changed)}", wanted.image
    return None


def _not_loaded(scene: Scene, where: str, field: str, seen: str, expected: str) -> Finding:
    cluster = scene.cluster
    worker = cluster.workers.get(scene.node.name)
    if worker is None:
        fix = "KMM has started no worker pod on the node: see its operator's log"
        return broken(where, field, f"{seen}; no worker pod", expected, fix, _kmm_log(cluster))
    failing = worker.trouble != f"phase {worker.phase}"
    return broken(
        f"Pod/{worker.title}",
        "status.containerStatuses",
        f"{seen}; {worker.trouble}",
        expected,
        "mend what the worker's message names: image, kernel, signature, parameters or firmware of the driver"
        if failing
        else "wait for the worker; if it does not end, see its log",
        scene.cluster.kubectl(f"logs {worker.name} --all-containers --tail=30"),
    )


def _kmm_log(cluster: Cluster) -> str:
    namespace = cluster.definition["kmm"]["namespace"] or names.KMM
    return f"kubectl -n {namespace} logs -l app.kubernetes.io/name=kmm --tail=30"


def _is_loaded(scene: Scene) -> bool:
    return names.ready_label(scene.cluster.definition) in scene.node.labels
