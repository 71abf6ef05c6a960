# SPDX-License-Identifier: Apache-2.0
"""Metrics, alerts, dashboard, where the Prometheus operator's API is served. Pure. PRIVATE to this collection."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names as names
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests._alerts import alerts
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests._dashboard import dashboard
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests._objects import Json, Scope

API = "monitoring.coreos.com/v1"
INTERVAL = "30s"


def monitoring(scope: Scope) -> t.List[Json]:
    """Nothing when it is not wanted, or the API is not there."""
    definition = scope.definition
    if not definition["monitoring"]["enabled"] or "PrometheusRule" not in scope.facts["apis"].get(API, ()):
        return []
    monitors = [_monitor(scope, name) for name in targets(definition)]
    groups = [{"name": f"{definition['name']}.rules", "rules": alerts(definition)}]
    rule = scope.make(API, "PrometheusRule", definition["name"], "monitoring", spec={"groups": groups})
    for made in [*monitors, rule]:
        made["metadata"]["labels"].update(definition["monitoring"]["labels"])
    return [*monitors, rule, _dashboard(scope)]


def targets(definition: Json) -> t.List[str]:
    """The Services that are read. KMM's own DaemonSet has no port to read."""
    plugin = [names.device_plugin(definition)] if definition["device_plugin"]["deploy"] == "own" else []
    return [*plugin, names.operator(definition)] if definition["managed_by"] == "operator" else plugin


def _monitor(scope: Scope, name: str) -> Json:
    node = {"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"}
    endpoint = {"port": names.METRICS_PORT, "interval": INTERVAL, "relabelings": [node]}
    selector = {"matchLabels": names.pod_selector(scope.definition, name)}
    return scope.make(API, "ServiceMonitor", name, "monitoring", spec={"selector": selector, "endpoints": [endpoint]})


def _dashboard(scope: Scope) -> Json:
    """OpenShift's console and Grafana's sidecar each look for a label, and know panels by different names."""
    openshift, name = scope.openshift(), names.dashboard(scope.definition)
    text = json.dumps(dashboard(scope.definition, openshift), indent=1, sort_keys=True)
    made = scope.make("v1", "ConfigMap", name, "monitoring", data={f"{name}.json": text})
    label = {"console.openshift.io/dashboard": "true"} if openshift else {"grafana_dashboard": "1"}
    made["metadata"]["labels"].update(label)
    wanted = scope.definition["monitoring"]["dashboard_namespace"]
    made["metadata"]["namespace"] = wanted or ("openshift-config-managed" if openshift else scope.namespace)
    return made
