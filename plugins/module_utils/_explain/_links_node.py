# SPDX-License-Identifier: Apache-2.0
"""Links of the chain: the node itself, the hardware in it, the label that tells of the hardware. Pure. PRIVATE."""

from __future__ import annotations

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names as names
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._explain._finding import (
    ABSENT,
    UNKNOWN,
    Finding,
    Scene,
    broken,
    fine,
    unread,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._explain._pods import unmatched
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._explain._records import Json

RULES = "nodefeaturerules"
FEATURES = "nodefeatures"


def node_ready(scene: Scene) -> Finding:
    if scene.node.ready:
        return fine(scene.where, "status.conditions[Ready]", "True")
    return broken(
        scene.where,
        "status.conditions[Ready]",
        scene.node.ready_message,
        "True",
        "bring the node's kubelet back: nothing below it is known while it is silent",
        f"kubectl describe node {scene.node.name}",
    )


def hardware(scene: Scene) -> Finding:
    """By the label, which follows from the hardware; where it is missing, by what NFD's worker saw."""
    cluster, node = scene.cluster, scene.node
    wanted, snapshot = names.hardware_labels(cluster.definition), cluster.snapshot
    if not unmatched(node.labels, wanted):
        return fine(scene.where, "metadata.labels", "has the hardware's label")
    given = cluster.definition["hardware"].get("node_label")
    if given:
        return _absent(
            scene, scene.where, "metadata.labels", f"not labelled {', '.join(unmatched(node.labels, given))}"
        )
    where = f"NodeFeature/{node.name}"
    if cluster.unread(FEATURES):
        return unread(FEATURES, cluster.unread(FEATURES))
    if node.name not in snapshot.features:
        return Finding(
            UNKNOWN,
            where,
            "",
            "not there",
            "what NFD's worker sees on the node",
            "let NFD's worker run on the node: nobody has looked for the hardware there",
            f"kubectl get pods -A -o wide --field-selector spec.nodeName={node.name}",
        )
    if snapshot.features[node.name]:
        return fine(where, "spec.features", described(cluster.definition["hardware"]))
    return _absent(scene, where, "spec.features", f"no {described(cluster.definition['hardware'])}")


def _absent(scene: Scene, where: str, field: str, seen: str) -> Finding:
    """No such hardware is no fault, except where it, or what came of it, has been before."""
    traces = [key for key in scene.node.labels if key == names.ready_label(scene.cluster.definition)]
    traces += [f"capacity {scene.capacity}"] if scene.capacity else []
    if not traces:
        fix = "nothing, if this node has none; else see whether the machine shows it"
        return Finding(ABSENT, where, field, seen, described(scene.cluster.definition["hardware"]), fix)
    return broken(
        where,
        field,
        f"{seen}, but {', '.join(traces)}",
        described(scene.cluster.definition["hardware"]),
        "the device was here and has gone, or its label was taken off: look at the machine's hardware and kernel log",
        f"kubectl debug node/{scene.node.name} -it --image=busybox --profile=sysadmin -- dmesg",
    )


def _unseen(scene: Scene) -> bool:
    """Whether NFD keeps what it sees in NodeFeatures, as it has for years, and has none of this node."""
    snapshot = scene.cluster.snapshot
    kept = any(api.endswith("/NodeFeature") for api in snapshot.apis) and not scene.cluster.unread(FEATURES)
    return kept and scene.node.name not in snapshot.features


def described(hardware: Json) -> str:
    pci = hardware.get("pci")
    if pci:
        of_class = f", class {pci['class']}" if pci.get("class") else ""
        return f"PCI device {pci['vendor']}:{pci['device']}{of_class}"
    if hardware.get("loaded_module"):
        return f"loaded kernel module {hardware['loaded_module']}"
    if hardware.get("cpu_feature"):
        return f"CPU feature {hardware['cpu_feature']}"
    return ", ".join(f"label {key}={value}" for key, value in (hardware.get("node_label") or {}).items())


def label(scene: Scene) -> Finding:
    """The hardware's label and those of the definition's `nodes`, which together are the Module's selector."""
    cluster, node = scene.cluster, scene.node
    missing = unmatched(node.labels, names.selector(cluster.definition))
    if not missing:
        return fine(scene.where, "metadata.labels", ", ".join(names.selector(cluster.definition)))
    seen, expected = f"no {', '.join(missing)}", "labels " + ", ".join(missing)
    foreign = unmatched(node.labels, cluster.definition["nodes"])
    if foreign or cluster.definition["hardware"].get("node_label"):
        return broken(
            scene.where,
            "metadata.labels",
            seen,
            expected,
            "label the node, or leave it out of accelerator.nodes if it is not meant to be used",
            f"kubectl label node {node.name} {' '.join(foreign or missing)}",
        )
    return _unlabelled(scene, seen, expected)


def _unlabelled(scene: Scene, seen: str, expected: str) -> Finding:
    """Why NFD has not written the label: it is not there, has no such rule, or another rule; or its master is ill."""
    cluster = scene.cluster
    snapshot = cluster.snapshot
    if not any(api.endswith("/NodeFeatureRule") for api in snapshot.apis):
        seen, fix = f"{seen}; the API has no NodeFeatureRule", "install NFD"
        return broken("CustomResourceDefinition/nodefeaturerules", "", seen, expected, fix, cluster.play("nfd"))
    if cluster.unread(RULES):
        return unread(RULES, cluster.unread(RULES))
    where, rules = f"NodeFeatureRule/{cluster.name}", snapshot.rules.get(cluster.name)
    if rules is None:
        return broken(where, "", f"{seen}; no such rule", expected, "apply the rule again", cluster.play("nfd"))
    wanted = names.hardware_labels(cluster.definition)
    if not any(wanted.items() <= labels.items() for labels in rules):
        fix = "apply the rule again: somebody changed it"
        return broken(where, "spec.rules[].labels", f"{seen}; rule without it", expected, fix, cluster.play("nfd"))
    if _unseen(scene):
        return broken(
            f"NodeFeature/{scene.node.name}",
            "",
            f"{seen}; not there",
            expected,
            "let NFD's worker run on the node: it has not reported what it sees there",
            f"kubectl get pods -A -o wide --field-selector spec.nodeName={scene.node.name}",
        )
    return broken(
        scene.where,
        "metadata.labels",
        f"{seen}, though the rule is there",
        expected,
        "NFD's master has not turned the rule into a label: see its pods and their log",
        "kubectl get pods -A -o wide | grep nfd",
    )
