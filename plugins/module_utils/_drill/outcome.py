# SPDX-License-Identifier: Apache-2.0
"""What a drill looks for, what keeps it from being held, and what came of it. Pure. PRIVATE to this collection."""

from __future__ import annotations

import typing as t
from datetime import datetime

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names as names
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _safe as safe
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _table
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._health import Report, node_ready, quantity
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests._alerts import alerts

Json = t.Dict[str, t.Any]

PLUGIN, CONSUMER = "plugin", "consumer"
ALERTS = {PLUGIN: "AcceleratorDeviceUnhealthy", CONSUMER: "AcceleratorConsumersMissing"}
NOTICED, ALLOCATABLE, ALERT, RECOVERY = "noticed", "allocatable", "alert", "recovery"
MILESTONES = (NOTICED, ALLOCATABLE, ALERT, RECOVERY)
PATIENCE = 2  # times the budget: a drill over its budget should still say by how much


def faults(definition: Json) -> t.List[str]:
    """The faults that can be drilled: one that only a consumer notices needs a consumer."""
    found = definition["health"]["drill"]["faults"].items()
    return [name for name, fault in found if fault["seen_by"] == PLUGIN or definition["consumer"]]


def alert_of(definition: Json, seen_by: str) -> t.Optional[Json]:
    """The alert that should come of it. Not each way of running the accelerator has it."""
    return next((rule for rule in alerts(definition) if rule["alert"] == ALERTS[seen_by]), None)


def target(definition: Json, seen_by: str, node: str) -> t.Dict[str, str]:
    """What Prometheus adds to the samples of what it scrapes: of the plugin's pod, or of the operator's."""
    job = names.device_plugin(definition) if seen_by == PLUGIN else names.operator(definition)
    return {"job": job, "namespace": definition["namespace"], "node": node}


def milestones(definition: Json, seen_by: str) -> t.List[str]:
    """Those that this fault should reach before it ends. A fault that the driver does not know of takes no device."""
    wanted = [NOTICED, *([ALLOCATABLE] if seen_by == PLUGIN else [])]
    return [*wanted, *([ALERT] if alert_of(definition, seen_by) else [])]


def budgets_of(definition: Json, fault: str) -> t.Dict[str, int]:
    """Milestone -> the seconds that it may take, for all that this fault should reach."""
    drill = definition["health"]["drill"]
    own = drill["faults"][fault]["budgets"]
    wanted = [*milestones(definition, drill["faults"][fault]["seen_by"]), RECOVERY]
    return {name: own[name] or drill["budgets"][name] for name in wanted}


def patience(definition: Json, fault: str) -> int:
    """Seconds for which a fault is left to be noticed."""
    budgets = budgets_of(definition, fault)
    return max(30, PATIENCE * max(budgets[name] for name in budgets if name != RECOVERY))


class Before(t.NamedTuple):
    """The node before the fault; afterwards it should be so again."""

    ready: bool
    allocatable: int
    capacity: int
    plugin: str  # its pod
    report: Report
    consumers: t.Dict[str, int]  # pods on the node that are ready -> how often their containers were started anew


def before(node: Json, resource: str, plugin: str, report: Report, consumers: t.Iterable[Json]) -> Before:
    return Before(
        ready=node_ready(node),
        allocatable=quantity(node, "allocatable", resource),
        capacity=quantity(node, "capacity", resource),
        plugin=plugin,
        report=report,
        consumers=running(consumers),
    )


def obstacles(definition: Json, node: str, seen: Before, seen_by: str) -> t.List[str]:
    """Why no drill is held there: what is not well already cannot show how fast a fault is noticed."""
    if not seen.ready:
        return [f"{node} is not ready"]
    if not seen.capacity:
        return [f"{node} offers no {definition['resource']}"]
    if not seen.plugin:
        return [f"no device plugin that is ready is on {node}"]
    if seen.report.error:
        return [seen.report.error]
    bad = [safe.text(device, "id") for device in seen.report.devices if device["health"] != "Healthy"]
    found = [f"unhealthy before the drill: {', '.join(bad)}"] if bad else []
    if seen.allocatable != seen.capacity:
        found.append(f"{seen.allocatable} of {seen.capacity} devices are allocatable before the drill")
    if seen_by == CONSUMER and not seen.consumers:
        found.append(f"no consumer that is ready runs on {node}, and nobody else would notice")
    return found


def running(pods: t.Iterable[Json]) -> t.Dict[str, int]:
    """The pods that are ready, with their restarts."""
    found = {}
    for one in pods:
        status = safe.mapping(one, "status")
        ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in safe.mappings(status, "conditions"))
        if ready and not safe.at(one, "metadata", "deletionTimestamp"):
            restarts = (safe.whole(each, "restartCount") or 0 for each in safe.mappings(status, "containerStatuses"))
            found[safe.text(one, "metadata", "name")] = sum(restarts)
    return found


def failed(was: t.Mapping[str, int], now: t.Mapping[str, int]) -> bool:
    """Whether a consumer has ended: it is not ready, is gone, or was started anew."""
    return any(now.get(name) != restarts for name, restarts in was.items())


def fallen(was: Report, now: Report) -> t.List[Json]:
    """The devices that have become unhealthy."""
    ill = {one["id"] for one in was.devices if one["health"] != "Healthy"}
    return [] if now.error else [one for one in now.devices if one["health"] != "Healthy" and one["id"] not in ill]


def since(devices: t.Iterable[Json]) -> t.Optional[float]:
    """When the first of them changed, by the plugin's word, in seconds of the Unix epoch."""
    times = [moment for one in devices if (moment := _moment(safe.text(one, "since"))) is not None]
    return min(times, default=None)


def _moment(text: str) -> t.Optional[float]:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def restored(was: Before, allocatable: int, report: Report, consumers: t.Mapping[str, int], alert: bool) -> bool:
    """A pod of a Deployment may have another name now."""
    well = not report.error and report.registered and all(one["health"] == "Healthy" for one in report.devices)
    return well and allocatable == was.allocatable and not alert and len(consumers) >= len(was.consumers)


def row(
    definition: Json,
    node: str,
    fault: str,
    times: t.Mapping[str, float],
    devices: t.Sequence[Json],
) -> Json:
    """One drill. times: milestone -> seconds since the fault, recovery since its end."""
    seen_by = definition["health"]["drill"]["faults"][fault]["seen_by"]
    budgets = budgets_of(definition, fault)
    late = [_late(name, times.get(name), seconds) for name, seconds in budgets.items()]
    problems = [*filter(None, late)]
    rule = alert_of(definition, seen_by)
    return {
        "node": node,
        "fault": fault,
        "seen_by": seen_by,
        "devices": [safe.text(one, "id") for one in devices],
        "reasons": sorted({safe.text(one, "reason") for one in devices}),
        "alert": rule["alert"] if rule else None,
        "alert_for": rule["for"] if rule else None,
        "times": {name: round(times[name], 2) if name in times else None for name in budgets},
        "budgets": budgets,
        "ok": not problems,
        "problems": problems,
    }


def _late(name: str, seconds: t.Optional[float], budget: int) -> str:
    if seconds is None:
        return f"{name}: not seen"
    return f"{name}: {seconds:.1f} s, expected {budget} s or less" if seconds > budget else ""


def table(rows: t.Sequence[Json]) -> str:
    """Seconds and, behind the stroke, the budget."""
    head = ("NODE", "FAULT", *(name.upper() for name in MILESTONES), "SEEN AS", "VERDICT")
    cells = [
        (
            safe.text(one, "node"),
            safe.text(one, "fault"),
            *(_cell(one, name) for name in MILESTONES),
            seen_as(one),
            verdict(one),
        )
        for one in rows
    ]
    return "\n".join([_table.aligned([head, *cells]), *alerts_told(rows)])


def alerts_told(rows: t.Sequence[Json]) -> t.List[str]:
    """What "alert" means: nobody waits here until it fires."""
    return sorted(
        {
            f"alert: the expression of {one['alert']} is true; it fires when it has been so for {one.get('alert_for')}"
            for one in rows
            if one.get("alert")
        }
    )


def verdict(one: Json) -> str:
    return "ok" if one.get("ok") else "; ".join(safe.words(one, "problems")) or "not held"


def seen_as(one: Json) -> str:
    if one.get("seen_by") == CONSUMER:
        return "consumer ended"
    ids, reasons = safe.words(one, "devices"), safe.words(one, "reasons")
    return f"{', '.join(ids)}: {', '.join(reasons)}" if ids else "-"


def _cell(one: Json, name: str) -> str:
    budgets, seconds = safe.mapping(one, "budgets"), safe.mapping(one, "times").get(name)
    if name not in budgets:
        return "-"
    return f"{'never' if seconds is None else format(seconds, '.1f')} / {budgets[name]}"


__all__ = (
    "MILESTONES",
    "Before",
    "alert_of",
    "alerts_told",
    "before",
    "budgets_of",
    "failed",
    "fallen",
    "faults",
    "milestones",
    "obstacles",
    "patience",
    "restored",
    "row",
    "running",
    "seen_as",
    "since",
    "table",
    "target",
    "verdict",
)
