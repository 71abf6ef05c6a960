# SPDX-License-Identifier: Apache-2.0
"""Why one pod does not start: what it asks for, where it may run, what is free there, and who has it. Pure. PRIVATE."""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._explain._finding import (
    BROKEN,
    OK,
    UNKNOWN,
    Cluster,
    Finding,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._explain._pods import (
    Pod,
    affinity_allows,
    unmatched,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._explain._records import Json, Node
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests._taints import untolerated

SHOWN = 5  # of a list, in one line


def explain_pod(cluster: Cluster, pod: Pod, rows: t.Sequence[Json]) -> Json:
    """rows: those of the nodes, which say why a resource is not offered."""
    link, finding = _first(cluster, pod, rows)
    return {
        "pod": pod.title,
        "state": finding.state,
        "link": link,
        "evidence": {"object": finding.object, "field": finding.field, "value": finding.seen},
        "expected": finding.expected,
        "fix": finding.fix,
        "next": finding.next,
    }


def _first(cluster: Cluster, pod: Pod, rows: t.Sequence[Json]) -> t.Tuple[str, Finding]:
    if pod.phase == "Failed":
        return "pod", _failed(pod)
    if pod.phase == "Succeeded" or pod.ready:
        return "pod", Finding(OK, _where(pod), "status.phase", pod.phase)
    if pod.node:
        return "pod", _not_running(pod)
    if pod.gates:
        fix = "whoever set the gate has to take it off; nothing is scheduled before"
        return "pod", _broken(pod, "spec.schedulingGates", ", ".join(pod.gates), "no gate", fix)
    for resource, number in sorted(pod.wants.items()):
        found = _of_resource(cluster, pod, resource, number, rows)
        if found:
            return found
    if cluster.resource not in pod.wants:
        fix = f"let a container ask for it, in resources.limits: {cluster.resource}"
        asked = ", ".join(pod.wants) or "no device"
        return "pod", _broken(pod, "spec.containers[].resources", asked, cluster.resource, fix)
    said = pod.unscheduled or "the scheduler has said nothing yet"
    fix = "devices are free where the pod may run: the scheduler's message names what else is lacking"
    return "pod", _broken(pod, "status.conditions[PodScheduled]", said, "True", fix)


def _where(pod: Pod) -> str:
    return f"Pod/{pod.title}"


def _describe(pod: Pod) -> str:
    return f"kubectl -n {pod.namespace} describe pod {pod.name}"


def _broken(pod: Pod, field: str, seen: str, expected: str, fix: str, command: str = "") -> Finding:
    return Finding(BROKEN, _where(pod), field, seen, expected, fix, command or _describe(pod))


def _failed(pod: Pod) -> Finding:
    seen = f"{pod.reason}: {pod.message}".strip(": ") or pod.trouble
    if not pod.rejected:
        fix = "see what its containers said; a pod that failed does not start again"
        return _broken(pod, "status.phase", seen, "Running", fix)
    again = f"{pod.owner} makes a new one" if pod.owner else "create it again: no controller does"
    fix = f"delete it ({again}): the kubelet had no device for it when it came, as after a restart of node or kubelet"
    return _broken(pod, "status.reason", seen, "Running", fix, f"kubectl -n {pod.namespace} delete pod {pod.name}")


def _not_running(pod: Pod) -> Finding:
    if pod.going:
        return _broken(pod, "metadata.deletionTimestamp", "being deleted", "no deletion", "wait for its end")
    reason = pod.trouble.partition(":")[0]
    if reason in ("ErrImagePull", "ImagePullBackOff", "InvalidImageName"):
        fix = "push the image, mend its reference, or give the pull secret that the registry asks for"
    elif reason in ("CrashLoopBackOff", "Error", "OOMKilled"):
        fix = "it has its devices and ends: see what the program says"
        command = f"kubectl -n {pod.namespace} logs {pod.name} --all-containers --previous --tail=30"
        return _broken(pod, "status.containerStatuses", pod.trouble, "running", fix, command)
    elif pod.trouble == f"phase {pod.phase or 'Unknown'}":
        return Finding(
            UNKNOWN, _where(pod), "status", pod.trouble, "ready", f"see its events on {pod.node}", _describe(pod)
        )
    else:
        fix = "mend what the message names"
    return _broken(pod, "status.containerStatuses", pod.trouble, "running", fix)


def _of_resource(
    cluster: Cluster, pod: Pod, resource: str, number: int, rows: t.Sequence[Json]
) -> t.Optional[t.Tuple[str, Finding]]:
    """What keeps the pod from one resource that it asks for; None when nothing does."""
    nodes = cluster.snapshot.nodes
    offering = [node for node in nodes if node.allocatable.get(resource, 0) > 0]
    if not offering:
        return _not_offered(cluster, pod, resource, rows)
    field = "spec.nodeSelector" if pod.node_selector else "spec.affinity"
    chosen = [n for n in offering if not unmatched(n.labels, pod.node_selector) and affinity_allows(n, pod.affinity)]
    if not chosen:
        wanted = ", ".join(f"{key}={value}" for key, value in pod.node_selector.items()) or "its node affinity"
        fix = f"let it select one of {_some([node.name for node in offering])}"
        return "selector", _broken(pod, field, wanted, f"a node that offers {resource}", fix, _labels(offering[0]))
    open_to = [node for node in chosen if not untolerated(node.taints, pod.tolerations) and node.ready]
    if not open_to:
        return "taints", _shut(pod, chosen, resource)
    return _not_enough(cluster, pod, resource, number, open_to)


def _labels(node: Node) -> str:
    return f"kubectl get node {node.name} --show-labels"


def _not_offered(cluster: Cluster, pod: Pod, resource: str, rows: t.Sequence[Json]) -> t.Tuple[str, Finding]:
    field = f"spec.containers[].resources[{resource}]"
    if resource != cluster.resource:
        known = {name for node in cluster.snapshot.nodes for name in node.capacity}
        offered = _some(sorted(known)) if known else "nothing of the kind"
        fix = f"mend the name, or install what offers {resource}"
        return "capacity", _broken(pod, field, "no node has it", f"what nodes offer: {offered}", fix)
    bad = next((row for row in rows if row["state"] == BROKEN), None) or next(iter(rows), None)
    if bad is None or not bad["link"]:
        return "hardware", _broken(
            pod, field, "no node has it", "a node that offers it", "add a node with the hardware"
        )
    seen = f"no node has it; {bad['node']} breaks at {bad['link']}: {bad['evidence']['value']}"
    return bad["link"], _broken(pod, field, seen, "a node that offers it", bad["fix"], bad["next"])


def _shut(pod: Pod, nodes: t.Sequence[Node], resource: str) -> Finding:
    why = []
    for node in nodes[:SHOWN]:
        taints = [str(taint) for taint in untolerated(node.taints, pod.tolerations)]
        why.append(f"{node.name}: {', '.join(taints) or 'not ready'}")
    more = f"; and {len(nodes) - SHOWN} more nodes" if len(nodes) > SHOWN else ""
    fix = "uncordon a node, take its taint off, or let the pod tolerate it"
    command = f"kubectl describe node {nodes[0].name}"
    return _broken(pod, "spec.tolerations", "; ".join(why) + more, f"an open node that offers {resource}", fix, command)


def _not_enough(
    cluster: Cluster, pod: Pod, resource: str, number: int, nodes: t.Sequence[Node]
) -> t.Optional[t.Tuple[str, Finding]]:
    """Who holds what on the nodes that the pod may use."""
    names = {node.name for node in nodes}
    holders: t.Dict[str, t.List[Pod]] = {name: [] for name in names}
    for user in cluster.snapshot.users:
        if user.holds and user.node in names and user.title != pod.title and user.wants.get(resource):
            holders[user.node].append(user)
    held = {name: sum(user.wants[resource] for user in users) for name, users in holders.items()}
    free = {node.name: node.allocatable[resource] - held[node.name] for node in nodes}
    if max(free.values()) >= number:
        return None
    field, most = f"spec.containers[].resources[{resource}]", max(node.allocatable[resource] for node in nodes)
    if most < number:
        fix = f"ask for {most} or fewer: a pod's devices come from one node"
        return "allocatable", _broken(pod, field, str(number), f"at most {most}, what one node has", fix)
    best = max(free, key=lambda name: (free[name], name))
    who = _some([f"{user.title} ({user.wants[resource]})" for user in holders[best]])
    seen = f"{number} wanted, {max(free[best], 0)} free on {best}; held by {who}"
    fix = "end or shrink one of the holders, or add a node"
    command = f"kubectl get pods -A -o wide --field-selector spec.nodeName={best}"
    return "allocatable", _broken(pod, field, seen, f"{number} free on one node", fix, command)


def _some(words: t.Sequence[str]) -> str:
    shown = ", ".join(words[:SHOWN]) or "nobody"
    return shown + (f" and {len(words) - SHOWN} more" if len(words) > SHOWN else "")
