# SPDX-License-Identifier: Apache-2.0
"""Links of the chain: device plugin, device nodes, registration, capacity, allocatable, taints, rejected pods.

Pure. PRIVATE. The kubelet's arithmetic: capacity = healthy + unhealthy, allocatable = healthy; when a plugin's socket
is gone allocatable is 0 at once, and capacity stays for five minutes, then is 0, never removed.
"""

from __future__ import annotations

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names as names
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._explain._finding import (
    UNKNOWN,
    Finding,
    Scene,
    broken,
    fine,
    unread,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._health import told, unhealthy
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests._taints import (
    CORDON,
    of_pods,
    untolerated,
)

DAEMON_SETS, PODS, ALL_PODS = "daemonsets.apps", "pods", "pods of all namespaces"


def plugin(scene: Scene) -> Finding:
    """The plugin's pod on the node, and whether it answers when it is asked."""
    cluster, found = scene.cluster, scene.plugin
    if cluster.unread(PODS):
        return unread(PODS, cluster.unread(PODS))
    left = f"; the advertised {scene.capacity} are left from before" if scene.capacity else ""
    if found is None:
        return _no_plugin(scene, left)
    where = f"Pod/{found.title}"
    if scene.report and not scene.report.error and not scene.report.registered:
        return fine(where, "/devices", "answers")  # what is wrong is the next link but one
    if not found.ready:
        fix = "mend what the message names: image, pull secret, permissions or flags of the device plugin"
        command = cluster.kubectl(f"describe pod {found.name}")
        going = "being deleted" if found.going else found.trouble
        return broken(where, "status.conditions[Ready]", f"{going}{left}", "True", fix, command)
    if scene.report and scene.report.error:
        fix = "the plugin is ready and does not answer: see its log"
        command = cluster.kubectl(f"logs {found.name} --tail=30")
        return broken(where, "/devices", scene.report.error, "an answer", fix, command)
    return fine(where, "status.conditions[Ready]", "True")


def _no_plugin(scene: Scene, left: str) -> Finding:
    cluster = scene.cluster
    if cluster.unread(DAEMON_SETS):
        return unread(DAEMON_SETS, cluster.unread(DAEMON_SETS))
    name = names.device_plugin(cluster.definition)
    own = cluster.definition["device_plugin"]["deploy"] == "own"
    found = next((d for d in cluster.snapshot.daemon_sets if _is_plugins(scene, d.labels, d.name)), None)
    if found is None:
        where = f"DaemonSet/{cluster.namespace}/{name if own else 'of KMM'}"
        operator = cluster.definition["managed_by"] == "operator"
        log = cluster.kubectl(f"logs deployment/{names.operator(cluster.definition)} --tail=30")
        fix = "see why the operator does not write it" if operator else "apply it again"
        command = log if operator else cluster.play("device_plugin")
        return broken(where, "", f"not there{left}", "the device plugin's DaemonSet", fix, command)
    missing = [f"{key}={value}" for key, value in found.selector.items() if scene.node.labels.get(key) != value]
    seen = f"no pod on {scene.node.name}" + (f", which lacks {', '.join(missing)}" if missing else "")
    return broken(
        f"DaemonSet/{cluster.namespace}/{found.name}",
        "status.desiredNumberScheduled",
        f"{seen}; {found.ready} of {found.desired} ready{left}",
        "a pod on each node with the driver",
        "see in its events why the pod is not made: quota, pod security, admission",
        cluster.kubectl(f"describe daemonset {found.name}"),
    )


def _is_plugins(scene: Scene, labels: object, name: str) -> bool:
    """KMM names its DaemonSet itself, and labels it with the Module's name."""
    definition = scene.cluster.definition
    if definition["device_plugin"]["deploy"] == "own":
        return name == names.device_plugin(definition)
    return isinstance(labels, dict) and labels.get(names.BY_KMM) == scene.cluster.name


def device_nodes(scene: Scene) -> Finding:
    """What the plugin finds in /dev, by its own report; not asked where the kubelet has all of them healthy."""
    cluster, report = scene.cluster, scene.report
    where = f"Pod/{scene.plugin.title}" if scene.plugin else scene.where
    if report is None or report.error:
        if scene.full:
            return fine(scene.where, f"status.allocatable[{cluster.resource}]", scene.allocatable)
        return Finding(UNKNOWN, where, "/devices", "not asked")
    least, glob = (1 if cluster.devices is None else cluster.devices), cluster.definition["devices"]["glob"]
    log = cluster.kubectl(f"logs {scene.plugin.name} --tail=30") if scene.plugin else ""
    if len(report.devices) < least:
        return broken(
            where,
            "/devices",
            f"{len(report.devices)} of {glob}",
            f"{least} or more",
            "the driver is loaded and makes fewer devices: see the kernel's log, its parameters and devices.glob",
            f"kubectl debug node/{scene.node.name} -it --image=busybox --profile=sysadmin -- dmesg",
        )
    bad = unhealthy(report)
    if bad:
        shown = ", ".join(map(told, bad[:5]))
        more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
        fix = "look at the hardware and the kernel's log for these devices; they come back by themselves when well"
        return broken(where, "/devices", f"{shown}{more}", "all Healthy", fix, log)
    return fine(where, "/devices", f"{len(report.devices)} healthy")


def registration(scene: Scene) -> Finding:
    report = scene.report
    where = f"Pod/{scene.plugin.title}" if scene.plugin else scene.where
    if report and not report.error:
        if report.registered:
            return fine(where, "/devices registered", "true")
        return broken(
            where,
            "/devices registered",
            "false",
            "true",
            "the kubelet does not follow the plugin: see both logs; a restart of the kubelet is safe for running pods",
            scene.cluster.kubectl(f"logs {scene.plugin.name} --tail=30") if scene.plugin else "",
        )
    if scene.allocatable:
        return fine(scene.where, f"status.allocatable[{scene.cluster.resource}]", scene.allocatable)
    return Finding(UNKNOWN, where, "/devices registered", "not asked")


def capacity(scene: Scene) -> Finding:
    cluster, seen = scene.cluster, scene.capacity
    least, field = (1 if cluster.expected is None else cluster.expected), f"status.capacity[{cluster.resource}]"
    if seen is not None and seen >= least:
        return fine(scene.where, field, seen)
    report = scene.report
    told = len(report.devices) * report.replicas if report and not report.error else 0
    return broken(
        scene.where,
        field,
        "not there" if seen is None else seen,
        f"{least} or more",
        "the plugin has them and the node follows within 10 s; if not, see the kubelet's log"
        if told >= least
        else "see the plugin's log, and whether devices.count is what the hardware has",
        f"kubectl get node {scene.node.name} -o jsonpath='{{.status.capacity}}'"
        if told >= least or not scene.plugin
        else cluster.kubectl(f"logs {scene.plugin.name} --tail=30"),
    )


def allocatable(scene: Scene) -> Finding:
    cluster, field = scene.cluster, f"status.allocatable[{scene.cluster.resource}]"
    if scene.allocatable == (scene.capacity or 0):
        return fine(scene.where, field, scene.allocatable)
    who = f"pods/{scene.plugin.name}:{names.DEVICE_PLUGIN_PORT}" if scene.plugin else ""
    path = f"/api/v1/namespaces/{cluster.namespace}/{who}/proxy/devices"
    return broken(
        scene.where,
        field,
        scene.allocatable,
        f"{scene.capacity}, as the capacity",
        "the plugin called devices unhealthy: ask it which, and why",
        f"kubectl get --raw {path}" if who else f"kubectl describe node {scene.node.name}",
    )


def taints(scene: Scene) -> Finding:
    """Whether a pod that tolerates what ours do gets to the devices."""
    found = untolerated(scene.node.taints, of_pods(scene.cluster.tolerations))
    if not found:
        return fine(scene.where, "spec.taints", "none that keeps pods away who are meant for it")
    cordoned = any(taint.key == CORDON for taint in found)
    return broken(
        scene.where,
        "spec.unschedulable" if cordoned else "spec.taints",
        ", ".join(map(str, found)),
        "a node that takes pods",
        "uncordon the node when its maintenance is over"
        if cordoned
        else "take the taint off, or let the pods that are meant for this node tolerate it",
        f"kubectl uncordon {scene.node.name}" if cordoned else f"kubectl describe node {scene.node.name}",
    )


def rejected(scene: Scene) -> Finding:
    """A pod that the kubelet refused stays where it is, Failed, until somebody deletes it."""
    found = scene.cluster.rejected.get(scene.node.name)
    if scene.cluster.unread(ALL_PODS):
        return unread(PODS, scene.cluster.unread(ALL_PODS))
    if found is None:
        return fine(scene.where, "pods", "none rejected")
    return broken(
        f"Pod/{found.title}",
        "status.reason",
        f"{found.reason}: {found.message}".rstrip(": "),
        "a pod that runs",
        f"delete it: {found.owner} makes a new one"
        if found.owner
        else "delete it and create it again: nobody else will",
        f"kubectl -n {found.namespace} delete pod {found.name}",
    )
