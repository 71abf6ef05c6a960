# SPDX-License-Identifier: Apache-2.0
"""Holds drills: starts the pod that makes the fault, looks until it is noticed, and until all is as it was. PRIVATE.

Times are told by the node's clock, on which the pod says when it made the fault, and the device plugin since when a
device is unhealthy. What is seen through the API server is put on that clock by the fastest line of the pod's log.
"""

from __future__ import annotations

import threading
import time
import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names as names
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _safe as safe
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._cluster import (
    Api,
    ClusterError,
    Json,
    Refused,
    pause,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._drill import metrics, outcome, pod
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._health import Report, plugin_of, trouble
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._plugin_reports import ask

LOOK = 0.1  # seconds between two looks
SILENCE = 10.0  # seconds without a line, of a pod that says one each second, after which its log is opened anew
Probe = t.Callable[[], t.Optional[float]]


class Log(threading.Thread):
    """The words of the pod, as they come. A log that breaks off is read again: the first of equal words counts."""

    def __init__(self, api: Api, path: str) -> None:
        super().__init__(daemon=True)
        self._api, self._path = api, f"{path}/log"
        self._over = threading.Event()
        self.words: t.List[pod.Word] = []

    def run(self) -> None:
        while not self._over.is_set():
            try:
                for line in self._api.lines(self._path, SILENCE, follow="true"):
                    found = pod.word(line, time.time())
                    if found:
                        self.words.append(found)
            except ClusterError:
                pass  # the pod has gone, or the API server is away for a moment
            if self.said("cleared") or self.said("stuck"):
                return
            pause(LOOK)

    def said(self, word: str) -> t.Optional[float]:
        return pod.said(list(self.words), word)

    def end(self) -> None:
        self.join(1)
        self._over.set()


class Drill:
    """Of one node."""

    def __init__(self, api: Api, definition: Json, node: str) -> None:
        self.api, self.definition, self.node = api, definition, node
        self._pods = f"/api/v1/namespaces/{definition['namespace']}/pods"
        self._mine = f"{self._pods}/{pod.name(definition, node)}"
        self._plugin: Json = {}

    # --- what is seen

    def before(self) -> outcome.Before:
        try:
            node = self.api.get(f"/api/v1/nodes/{self.node}")
        except Refused as error:
            if error.status != 404:
                raise
            raise ClusterError(f"expected a node {self.node}, seen none; next: kubectl get nodes") from None
        found = [one for one in self._on_node(names.plugin_labels(self.definition)) if plugin_of(one).ready]
        self._plugin = found[0] if found else {}
        name = safe.text(self._plugin, "metadata", "name")
        report = self._report(name) if name else Report(False, [])
        return outcome.before(node, self.definition["resource"], name, report, self._consumers())

    def _on_node(self, labels: t.Mapping[str, str]) -> t.List[Json]:
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        return self.api.pages(self._pods, labelSelector=selector, fieldSelector=f"spec.nodeName={self.node}")[0]

    def _consumers(self) -> t.List[Json]:
        name = names.consumer(self.definition)
        return self._on_node(names.pod_selector(self.definition, name)) if self.definition["consumer"] else []

    def _report(self, plugin: str) -> Report:
        return ask(self.api, self.definition["namespace"], names.DEVICE_PLUGIN_PORT, [plugin])[plugin]

    def _allocatable(self) -> int:
        status = self.api.get(f"/api/v1/nodes/{self.node}")["status"]
        return safe.whole(status, "allocatable", self.definition["resource"]) or 0

    def _alert(self, seen_by: str) -> bool:
        """Whether the alert's expression is true of what the plugin, or the operator, says just now."""
        rule = outcome.alert_of(self.definition, seen_by)
        if not rule:
            return False
        by_plugin = seen_by == outcome.PLUGIN
        asked = safe.text(self._plugin, "metadata", "name") if by_plugin else self._operator()
        port = names.DEVICE_PLUGIN_PORT if by_plugin else names.OPERATOR_PORT
        page = self.api.text(f"{self._pods}/{asked}:{port}/proxy/metrics", read_timeout=SILENCE)
        target = outcome.target(self.definition, seen_by, self.node)
        return metrics.true_of(rule["expr"], metrics.samples(page), target)

    def _operator(self) -> str:
        labels = names.pod_selector(self.definition, names.operator(self.definition))
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        found = self.api.pages(self._pods, labelSelector=selector)[0]
        return next((safe.text(one, "metadata", "name") for one in found if plugin_of(one).ready), "none")

    # --- what is done

    def check(self, fault: str) -> outcome.Before:
        """Raises ClusterError where no drill is held, before anything is done."""
        seen_by = self.definition["health"]["drill"]["faults"][fault]["seen_by"]
        seen = self.before()
        found = outcome.obstacles(self.definition, self.node, seen, seen_by)
        if not found and self._alert(seen_by):
            found = [f"{outcome.ALERTS[seen_by]} holds before the drill"]
        if found:
            raise ClusterError(
                f"no drill of {fault} on {self.node}: expected a node that is well; seen {'; '.join(found)}; "
                f"nothing was changed; next: ansible-playbook ecosystem_edge.accelerator.health -e @DEFINITION"
            )
        return seen

    def hold(self, fault: str) -> Json:
        """One fault, from a node that is well to the same node, well again."""
        seen = self.check(fault)
        given = self.definition["health"]["drill"]["faults"][fault]
        seen_by, bound = given["seen_by"], outcome.patience(self.definition, fault)
        times: t.Dict[str, float] = {}
        devices: t.List[Json] = []
        self._start(given["inject"], bound + pod.GRACE)
        log = Log(self.api, self._mine)
        try:
            self._started()
            log.start()
            made = self._injected(log)
            reached = self._until(self._probes(seen, seen_by, devices), bound)
            times = {name: at - pod.offset(log.words) - made for name, at in reached.items()}
            at = outcome.since(devices)  # more exact than when we saw it
            times.update({outcome.NOTICED: at - made} if at is not None else {})
        finally:
            asked = time.time()
            self._stop(self._mine)
            if log.ident:
                log.end()
            cleared = log.said("cleared") or self._clear(log, asked)
        patience = outcome.PATIENCE * outcome.budgets_of(self.definition, fault)[outcome.RECOVERY]
        back = self._until({outcome.RECOVERY: self._recovery(seen, seen_by)}, patience)
        times.update({name: at - pod.offset(log.words) - cleared for name, at in back.items()})
        return outcome.row(
            self.definition, self.node, fault, {name: max(0.0, value) for name, value in times.items()}, devices
        )

    def restore(self, check: bool = False) -> bool:
        """Ends what an interrupted drill has left on the node; whether there was anything."""
        selector, where = pod.selector(self.definition), f"spec.nodeName={self.node}"
        left = self.api.pages(self._pods, labelSelector=selector, fieldSelector=where)[0]
        if not left or check:
            return bool(left)
        for one in left:
            self._stop(f"{self._pods}/{one['metadata']['name']}")
        self.before()
        self._clear(None, time.time())
        return True

    def _probes(self, seen: outcome.Before, seen_by: str, devices: t.List[Json]) -> t.Dict[str, Probe]:
        """Milestone -> what says when it was reached, by our clock."""

        def fallen() -> bool:
            devices[:] = outcome.fallen(seen.report, self._report(seen.plugin))
            return bool(devices)

        probes: t.Dict[str, t.Callable[[], bool]] = {
            outcome.NOTICED: fallen
            if seen_by == outcome.PLUGIN
            else lambda: outcome.failed(seen.consumers, outcome.running(self._consumers())),
            outcome.ALLOCATABLE: lambda: self._allocatable() < seen.allocatable,
            outcome.ALERT: lambda: self._alert(seen_by),
        }
        return {name: _timed(probes[name]) for name in outcome.milestones(self.definition, seen_by)}

    def _recovery(self, seen: outcome.Before, seen_by: str) -> Probe:
        return _timed(
            lambda: outcome.restored(
                seen,
                self._allocatable(),
                self._report(seen.plugin),
                outcome.running(self._consumers()),
                self._alert(seen_by),
            )
        )

    def _until(self, probes: t.Dict[str, Probe], seconds: float) -> t.Dict[str, float]:
        """Looks until each milestone was reached, or the time is over. When, by our clock."""
        times: t.Dict[str, float] = {}
        end = time.monotonic() + seconds
        while len(times) < len(probes) and time.monotonic() < end:
            for name, probe in probes.items():
                at = None if name in times else probe()
                if at is not None:
                    times[name] = at
            pause(LOOK)
        return times

    def _start(self, inject: str, hold: int) -> None:
        if not self._plugin:
            raise ClusterError(
                f"no drill's pod can be made on {self.node}: expected a device plugin that is ready there, whose image "
                "it takes; seen none; next: if a fault may be there still, run health.drill.clear on that node as root"
            )
        body = pod.pod(self.definition, self._plugin, self.node, inject, hold)
        try:
            self.api.post(self._pods, body)
        except Refused as error:
            if error.status != 409:
                raise
            name, namespace = body["metadata"]["name"], self.definition["namespace"]
            raise ClusterError(
                f"another drill is held on {self.node}: expected no pod {name}, seen it; next: wait for its end, or "
                f"kubectl -n {namespace} delete pod {name}"
            ) from None

    def _started(self) -> None:
        end, seen = time.monotonic() + pod.SLACK, "nothing"
        while time.monotonic() < end:
            status = safe.mapping(self.api.get(self._mine), "status")
            if safe.text(status, "phase") not in ("", "Pending"):
                return
            seen = trouble(status)
            pause(LOOK)
        raise ClusterError(
            f"the drill's pod has not started on {self.node}: expected it to run within {pod.SLACK} s; seen {seen}"
            f"{self._event()}; next: see that health.drill.folders are on the node; the driver may make them only when "
            "it is told to let devices fail"
        )

    def _event(self) -> str:
        """The last warning about the pod; who may not read events gets none."""
        path = f"{self._pods.removesuffix('/pods')}/events"
        query = f"involvedObject.name={pod.name(self.definition, self.node)},type=Warning"
        try:
            found = self.api.pages(path, fieldSelector=query)[0]
        except Refused:
            return ""
        return f": {safe.text(found[-1], 'message')}" if found else ""

    def _injected(self, log: Log) -> float:
        end = time.monotonic() + pod.READY + pod.GRACE
        while time.monotonic() < end:
            made = log.said("injected")
            if made is not None:
                return made
            if log.said("failed") is not None:
                break
            pause(LOOK)
        said = self.api.text(f"{self._mine}/log", tailLines=3, read_timeout=SILENCE)
        raise ClusterError(
            f"the fault could not be made on {self.node}: expected the drill's pod to say so; seen "
            f"{said.strip() or 'nothing'}; next: see health.drill.faults and health.drill.folders, and whether the "
            "driver lets devices fail"
        )

    def _stop(self, path: str) -> None:
        """Asks the pod to end, which ends the fault, and waits for it."""
        end = time.monotonic() + pod.GRACE + 60
        try:
            self.api.delete(path, {})
            while time.monotonic() < end:
                self.api.get(path)
                pause(LOOK)
        except Refused as error:
            if error.status != 404:
                raise

    def _clear(self, log: t.Optional[Log], asked: float) -> float:
        """For a pod that did not say that it has ended its fault: another one does. When, by the node's clock."""
        self._start("true", 0)
        end, phase = time.monotonic() + pod.SLACK, ""
        while time.monotonic() < end and phase not in ("Succeeded", "Failed"):
            phase = safe.text(self.api.get(self._mine), "status", "phase")
            pause(LOOK)
        said = self._event() if phase in ("", "Pending") else ""
        self._stop(self._mine)
        if phase != "Succeeded":
            raise ClusterError(
                f"the fault on {self.node} may be there still: expected health.drill.clear to succeed there; seen "
                f"phase {phase or 'none'}{said}; next: run that command on {self.node} as root"
            )
        return asked - (pod.offset(log.words) if log else 0.0)


def _timed(probe: t.Callable[[], bool]) -> Probe:
    """What could not be seen for a moment is looked at again."""

    def look() -> t.Optional[float]:
        try:
            return time.time() if probe() else None
        except ClusterError as error:
            if not error.passing and not (isinstance(error, Refused) and error.status == 404):
                raise
            return None

    return look


__all__ = ("Drill",)
