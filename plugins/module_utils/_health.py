# SPDX-License-Identifier: Apache-2.0
"""The health of an accelerator's devices: node, plugin pod and the plugin's own report in, verdict out.

Pure. PRIVATE to this collection. The kubelet's arithmetic: capacity = healthy + unhealthy, allocatable = healthy.
When a plugin's socket is gone allocatable is 0 at once, and capacity stays for 5 minutes, then is 0, never removed.
"""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _safe as safe
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _table
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._facts import schedulable

Json = t.Dict[str, t.Any]

COLUMNS = ("node", "expected", "advertised", "allocatable", "healthy", "verdict", "reason")


# Verdicts that are no reason to call anybody: nothing is wanted on a node that takes no pods.
FINE = ("ok", "unschedulable")


class Rules(t.NamedTuple):
    """What a node should have."""

    resource: str
    namespace: str
    expected: t.Optional[int] = None
    ready_label: t.Optional[str] = None
    tolerations: t.Sequence[Json] = ()


class Plugin(t.NamedTuple):
    """The device plugin's pod on a node."""

    name: str
    ready: bool
    trouble: str  # why it is not ready, in the container runtime's words


class Report(t.NamedTuple):
    """What a device plugin says at /devices, or why it said nothing."""

    registered: bool
    devices: t.List[Json]
    error: str = ""
    replicas: int = 1  # so often the kubelet counts each device, since so many pods may share it


class Verdict(t.NamedTuple):
    verdict: str
    reason: str


def quantity(node: Json, which: str, resource: str) -> int:
    """A count of devices from a node's status; absent is 0."""
    return safe.whole(node, "status", which, resource) or 0


def node_ready(node: Json) -> bool:
    conditions = node["status"].get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def plugin_of(pod: Json) -> Plugin:
    status = pod.get("status", {})
    conditions = status.get("conditions") or []
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return Plugin(pod["metadata"]["name"], ready and not pod["metadata"].get("deletionTimestamp"), trouble(status))


def trouble(status: Json) -> str:
    """Why a pod's containers do not run, in the runtime's words; the pod's phase when none says anything."""
    for container in [*safe.mappings(status, "initContainerStatuses"), *safe.mappings(status, "containerStatuses")]:
        for state in safe.mapping(container, "state").values():
            reason = safe.text(state, "reason")
            if reason not in ("", "Completed"):
                said = safe.text(state, "message") or safe.text(container, "lastState", "terminated", "message")
                return f"{reason}: {said}".rstrip(": ")
    return f"phase {safe.text(status, 'phase') or 'Unknown'}"


def placed(pod: Json) -> t.Optional[t.Tuple[str, Plugin]]:
    """A plugin's pod with its node, all that is kept of it while pages are read; None before it has a node."""
    node = safe.text(pod, "spec", "nodeName")
    return (node, plugin_of(pod)) if node else None


def by_node(pairs: t.Iterable[t.Tuple[str, Plugin]]) -> t.Dict[str, Plugin]:
    """One pod a node: the ready one where an old pod is still going."""
    found: dict[str, Plugin] = {}
    for node, plugin in pairs:
        if not (node in found and found[node].ready):
            found[node] = plugin
    return found


def slim(node: Json, rules: Rules) -> Json:
    """A Node with as much as is looked at here: of 5,000 at 8 KiB each, the rest would be most of the memory."""
    label, status = rules.ready_label, safe.mapping(node, "status")
    counts = {which: safe.mapping(status, which).get(rules.resource) for which in ("capacity", "allocatable")}
    labels = safe.texts(node, "metadata", "labels")
    return {
        "metadata": {"name": node["metadata"]["name"], "labels": {label: ""} if label and label in labels else {}},
        "spec": {key: node["spec"][key] for key in ("taints", "unschedulable") if safe.at(node, "spec", key)},
        "status": {
            "conditions": [
                {"type": "Ready", "status": safe.text(one, "status")}
                for one in safe.mappings(status, "conditions")
                if one.get("type") == "Ready"
            ],
            **{which: {rules.resource: number} for which, number in counts.items() if number is not None},
        },
    }


def well_by_numbers(node: Json, rules: Rules) -> bool:
    """Whether the numbers alone show that a plugin is at work: the kubelet has allocatable 0 as soon as it goes."""
    capacity, allocatable = (quantity(node, which, rules.resource) for which in ("capacity", "allocatable"))
    least = 1 if rules.expected is None else max(1, rules.expected)
    driver = not rules.ready_label or rules.ready_label in (node["metadata"].get("labels") or {})
    return node_ready(node) and driver and capacity == allocatable >= least


def judge(
    node: Json, plugin: t.Optional[Plugin], report: t.Optional[Report], rules: Rules, looked: bool = True
) -> Verdict:
    """The verdict on one node. The first thing that is wrong names the cause of what is wrong behind it.

    looked: whether the plugin was looked for; where the numbers are well it need not be.
    """
    capacity = quantity(node, "capacity", rules.resource)
    allocatable = quantity(node, "allocatable", rules.resource)
    if not node_ready(node):
        return Verdict("node_not_ready", "the kubelet does not report the node as ready")
    if allocatable == 0 and not schedulable(node, rules.tolerations):
        return Verdict("unschedulable", "cordoned or tainted, so neither driver nor plugin is wanted here")
    if rules.ready_label and rules.ready_label not in (node["metadata"].get("labels") or {}):
        return Verdict("no_driver", f"the driver's module is not loaded: no label {rules.ready_label}")
    if not looked and well_by_numbers(node, rules):
        return _counted(capacity, allocatable, None, rules)
    if plugin is None or not plugin.ready:
        return _without_plugin(plugin, capacity)
    if report and report.error:
        return Verdict("plugin_failing", report.error)
    if report and not report.registered:
        return Verdict("unregistered", f"{plugin.name} is not registered with the kubelet")
    if capacity == 0:
        return _nothing_advertised(plugin, report)
    return _counted(capacity, allocatable, report, rules)


def _without_plugin(plugin: t.Optional[Plugin], capacity: int) -> Verdict:
    left = f"; the advertised {capacity} are left from before" if capacity else ""
    if plugin is None:
        return Verdict("stale" if capacity else "no_plugin", f"no device plugin runs here{left}")
    return Verdict("plugin_failing", f"{plugin.name} is not ready: {plugin.trouble}{left}")


def _nothing_advertised(plugin: Plugin, report: t.Optional[Report]) -> Verdict:
    if report is None:
        return Verdict("missing", "the kubelet advertises no device")
    if not report.devices:
        return Verdict("missing", f"{plugin.name} finds no device")
    return Verdict("missing", f"{plugin.name} has {len(report.devices)}, the kubelet advertises none yet")


def _counted(capacity: int, allocatable: int, report: t.Optional[Report], rules: Rules) -> Verdict:
    reasons = []
    if rules.expected is not None and capacity < rules.expected:
        reasons.append(f"{rules.expected - capacity} of {rules.expected} devices missing")
    if allocatable < capacity:
        reasons.append(f"{capacity - allocatable} of {capacity} unhealthy")
    elif report and _offered(report) < allocatable:
        reasons.append(f"{allocatable - _offered(report)} turned unhealthy, the node's numbers will follow")
    reasons += [told(device) for device in (unhealthy(report) if report else [])]
    if reasons:
        return Verdict("unhealthy" if allocatable == 0 else "degraded", ", ".join(reasons))
    if rules.expected is not None and capacity > rules.expected:
        return Verdict("ok", f"{capacity - rules.expected} more than expected")
    return Verdict("ok", "")


def healthy(report: Report) -> t.List[Json]:
    return [device for device in report.devices if device["health"] == "Healthy"]


def _offered(report: Report) -> int:
    """As the kubelet counts."""
    return len(healthy(report)) * report.replicas


def unhealthy(report: Report) -> t.List[Json]:
    return [device for device in report.devices if device["health"] != "Healthy"]


def told(device: Json) -> str:
    """What a plugin says of a device: the reason, what it saw, and who has the device, where the kubelet says that."""
    evidence = safe.text(device, "evidence")
    users = [f"{safe.text(one, 'namespace')}/{safe.text(one, 'name')}" for one in safe.mappings(device, "pods")]
    reason = f"{device['id']}: {device.get('reason') or device['health']}"
    return reason + (f" ({evidence})" if evidence else "") + (f", used by {', '.join(users[:3])}" if users else "")


def report_of(answer: t.Any, plugin: str) -> Report:
    """A plugin's answer as a report; one that is none, from whatever listens there, is an error and no verdict."""
    devices = safe.mappings(answer, "devices")
    said = all(isinstance(one.get(key), str) for one in devices for key in ("id", "health"))
    whole = isinstance(safe.at(answer, "devices"), list) and len(devices) == len(answer["devices"])
    if not (said and whole and isinstance(safe.at(answer, "registered"), bool)):
        return Report(False, [], f"{plugin} did not answer /devices with a list of them")
    return Report(answer["registered"], devices, replicas=max(1, safe.whole(answer, "replicas") or 1))


def entry(
    node: Json, plugin: t.Optional[Plugin], report: t.Optional[Report], rules: Rules, looked: bool = True
) -> Json:
    """One node in accelerator_health."""
    verdict = judge(node, plugin, report, rules, looked)
    labels = node["metadata"].get("labels") or {}
    return {
        "node": node["metadata"]["name"],
        "expected": rules.expected,
        "advertised": quantity(node, "capacity", rules.resource),
        "allocatable": quantity(node, "allocatable", rules.resource),
        "healthy": _offered(report) if report and not report.error else None,
        "verdict": verdict.verdict,
        "reason": verdict.reason,
        "evidence": {
            "node_ready": node_ready(node),
            "driver_ready": rules.ready_label in labels if rules.ready_label else None,
            "plugin": plugin._asdict() if plugin else None,
            "registered": report.registered if report and not report.error else None,
        },
        "devices": report.devices if report else [],
    }


def well(entries: t.Sequence[Json], expected_nodes: t.Optional[int]) -> bool:
    """Whether every node is well, and there are enough; no node at all is never well.

    Where it is known how many there should be, one that is not ready beside these is no reason to wait for it.
    """
    least = 1 if expected_nodes is None else expected_nodes
    fine = FINE if expected_nodes is None else (*FINE, "node_not_ready")
    usable = [one for one in entries if one["verdict"] == "ok"]
    return len(usable) >= max(1, least) and all(one["verdict"] in fine for one in entries)


def table(entries: t.Sequence[Json]) -> str:
    """The entries as aligned text; numbers are flushed right."""
    rows = [tuple(column.upper() for column in COLUMNS)]
    for one in entries:
        cells = {**one, "expected": "1+" if one["expected"] is None else one["expected"]}
        rows.append(tuple("-" if cells[column] is None else str(cells[column]) for column in COLUMNS))
    return _table.aligned(rows, right=range(1, 5))


def leftovers(stale: t.Sequence[Json], rejected: t.Optional[t.Sequence[Json]], resource: str) -> str:
    """Lines for below the table: what a plugin that has gone left behind. Empty when it left nothing."""
    lines = [f"stale: {one['node']} has capacity {one['capacity']} of {resource} and no device plugin" for one in stale]
    pods = rejected or ()
    lines += [f"rejected: {one['namespace']}/{one['name']} on {one['node']}: {one['message']}" for one in pods[:20]]
    lines += [f"rejected: and {len(pods) - 20} more"] if len(pods) > 20 else []
    return "".join(f"\n{line}" for line in lines)


def failure(
    entries: t.Sequence[Json], rules: Rules, expected_nodes: t.Optional[int], selector: str, seconds: float
) -> str:
    """The message when not all is well: what, where, expected, seen, next step."""
    least = 1 if expected_nodes is None else expected_nodes
    devices = "at least one" if rules.expected is None else str(rules.expected)
    bad = [one for one in entries if one["verdict"] not in FINE]
    shown = [f"{one['node']} {one['allocatable']} allocatable, {one['verdict']}: {one['reason']}" for one in bad[:10]]
    if len(bad) > 10:
        shown.append(f"and {len(bad) - 10} more")
    seen = f"{len(entries) - len(bad)} of {len(entries)} nodes well" + (f" ({'; '.join(shown)})" if shown else "")
    return (
        f"{rules.resource}: not well after {seconds:.0f} s; expected {devices} healthy devices on each of {least} "
        f"or more nodes with labels {selector}; seen {seen}; next: {_next_step(bad, rules, selector)}"
    )


def _next_step(bad: t.Sequence[Json], rules: Rules, selector: str) -> str:
    if not bad:
        return f"kubectl get nodes -l '{selector}'"
    worst, plugin = bad[0], bad[0]["evidence"]["plugin"]
    if worst["verdict"] == "node_not_ready":
        return f"kubectl describe node {worst['node']}"
    if worst["verdict"] == "no_driver":
        return f"kubectl -n {rules.namespace} get modules.kmm.sigs.x-k8s.io,pods -o wide"
    if plugin is None:
        return f"kubectl -n {rules.namespace} get daemonsets,pods -o wide"
    return f"kubectl -n {rules.namespace} {'logs' if plugin['ready'] else 'describe pod'} {plugin['name']}"


__all__ = (
    "Plugin",
    "Report",
    "Rules",
    "Verdict",
    "by_node",
    "entry",
    "failure",
    "judge",
    "leftovers",
    "placed",
    "report_of",
    "slim",
    "table",
    "told",
    "trouble",
    "unhealthy",
    "well",
    "well_by_numbers",
)
