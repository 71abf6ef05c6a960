# SPDX-License-Identifier: Apache-2.0
"""The dashboard, as Grafana and OpenShift's console read it. Pure. PRIVATE to this collection."""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names as names

Json = t.Dict[str, t.Any]


class Panel(t.NamedTuple):
    title: str
    query: str
    legend: str
    single: bool = False  # one number rather than a curve


def dashboard(definition: Json, openshift: bool) -> Json:
    panels = panels_of(definition)
    return {
        "title": f"Accelerator / {definition['name']}",
        "uid": f"accelerator-{definition['name']}"[:40],
        "tags": ["accelerator"],
        "schemaVersion": 38,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [{"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data"}]},
        "panels": [_panel(index, panel, openshift) for index, panel in enumerate(panels)],
    }


def panels_of(definition: Json) -> t.List[Panel]:
    found: t.List[Panel] = []
    if definition["device_plugin"]["deploy"] == "own":
        mine = f'{{resource="{definition["resource"]}"}}'
        healthy = f'{{resource="{definition["resource"]}",health="Healthy"}}'
        plugin = "accelerator_device_plugin"
        found += [
            Panel("Healthy devices", f"sum({plugin}_devices{healthy})", "healthy", single=True),
            Panel("Nodes whose kubelet follows", f"sum({plugin}_registered{mine})", "nodes", single=True),
            Panel(
                "Devices by node and health", f"sum by (node, health) ({plugin}_devices{mine})", "{{node}} {{health}}"
            ),
            Panel(
                "Allocations a second",
                f"sum by (node, result) (rate({plugin}_allocations_total{mine}[5m]))",
                "{{node}} {{result}}",
            ),
            Panel(
                "Registrations in 15 minutes",
                f"sum by (node) (increase({plugin}_registrations_total{mine}[15m]))",
                "{{node}}",
            ),
        ]
    if definition["managed_by"] == "operator":
        kind = definition["operator"]["api"]["kind"]
        mine = f'{{job="{names.operator(definition)}",namespace="{definition["namespace"]}"}}'
        found += [
            Panel("Ready", f"min({kind}_ready{mine})", "ready", single=True),
            Panel("Consumers", f"sum({kind}_consumers{mine})", "consumers", single=True),
            Panel("Reconciles in 15 minutes", f"sum(delta({kind}_reconcile_count{mine}[15m]))", "all"),
            Panel("Reconciles that failed", f"sum(increase({kind}_reconcile_errors_total{mine}[15m]))", "failed"),
            Panel(
                "Time of a reconcile, 99th percentile",
                f"histogram_quantile(0.99, sum by (le) (rate({kind}_reconcile_duration_seconds_bucket{mine}[15m])))",
                "seconds",
            ),
        ]
    return found


def _panel(index: int, panel: Panel, openshift: bool) -> Json:
    kinds = ("singlestat", "graph") if openshift else ("stat", "timeseries")
    return {
        "id": index + 1,
        "title": panel.title,
        "type": kinds[0] if panel.single else kinds[1],
        "datasource": {"type": "prometheus", "uid": "$datasource"},
        "gridPos": {"h": 8, "w": 12, "x": index % 2 * 12, "y": index // 2 * 8},
        "targets": [{"refId": "A", "expr": panel.query, "legendFormat": panel.legend}],
    }
