# SPDX-License-Identifier: Apache-2.0
"""The alerts: each is something that somebody must act on, and has a runbook. Pure. PRIVATE to this collection."""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names as names

Json = t.Dict[str, t.Any]

RUNBOOKS = "https://github.com/ecosystem-edge/accelerator/blob/main/docs/runbooks/README.md"
NODE = "{{ $labels.node }}"
VALUE = "{{ $value }}"


def alerts(definition: Json) -> t.List[Json]:
    plugin = _of_devices(definition) if definition["device_plugin"]["deploy"] == "own" else []
    return [*plugin, *_of_operator(definition)] if definition["managed_by"] == "operator" else plugin


def _alert(name: str, expression: str, minutes: int, severity: str, summary: str, description: str) -> Json:
    return {
        "alert": name,
        "expr": expression,
        "for": f"{minutes}m",
        "labels": {"severity": severity},
        "annotations": {
            "summary": summary,
            "description": description,
            "runbook_url": f"{RUNBOOKS}#{name.lower()}",
        },
    }


def _of_devices(definition: Json) -> t.List[Json]:
    resource, least = definition["resource"], definition["devices"]["count"] or 1
    job = f'job="{names.device_plugin(definition)}",namespace="{definition["namespace"]}"'
    devices = f'accelerator_device_plugin_devices{{resource="{resource}"'
    return [
        _alert(
            "AcceleratorDeviceUnhealthy",
            f'{devices},health="Unhealthy"}} > 0',
            2,
            "warning",
            f"{resource}: unhealthy devices on {NODE}",
            f"{VALUE} devices of {resource} on node {NODE} are unhealthy; its /devices page says why.",
        ),
        _alert(
            "AcceleratorDevicesMissing",
            f"sum by (node, namespace) ({devices}}}) < {least}",
            5,
            "warning",
            f"{resource}: devices missing on {NODE}",
            f"Node {NODE} has {VALUE} devices of {resource}, expected {least}.",
        ),
        _alert(
            "AcceleratorDevicePluginDown",
            f"up{{{job}}} == 0 or absent(up{{{job}}})",
            5,
            "critical",
            f"{resource}: no device plugin answers",
            f"The device plugin of {resource} on node {NODE} (on every node, if none is named) has not answered for "
            "5 minutes; "
            "pods there get no devices.",
        ),
        _alert(
            "AcceleratorDevicePluginNotRegistered",
            f'accelerator_device_plugin_registered{{resource="{resource}"}} == 0',
            5,
            "critical",
            f"{resource}: the kubelet on {NODE} does not follow the device plugin",
            f"The device plugin of {resource} on node {NODE} runs, but no kubelet follows its device list.",
        ),
    ]


def _of_operator(definition: Json) -> t.List[Json]:
    kind, name, consumer = definition["operator"]["api"]["kind"], names.operator(definition), definition["consumer"]
    job = f'job="{name}",namespace="{definition["namespace"]}"'
    rules = [
        _alert(
            "AcceleratorOperatorDown",
            f"up{{{job}}} == 0 or absent(up{{{job}}})",
            10,
            "warning",
            f"{name} does not answer",
            f"{name} has not been read for 10 minutes: what is loaded keeps working, nothing is repaired.",
        ),
        _alert(
            "AcceleratorReconcileFailing",
            # A short look back: else a few minutes without an API server would be told as failing for long.
            f"increase({kind}_reconcile_errors_total{{{job}}}[5m]) > 0",
            20,
            "warning",
            f"{name}: reconciles end in errors",
            f"{name} has failed for 20 minutes; its log and the {kind}'s conditions say why.",
        ),
        _alert(
            "AcceleratorNotReady",
            f"{kind}_ready{{{job}}} == 0",
            15,
            "critical",
            f"{kind} {{{{ $labels.name }}}} is not ready",
            f"{kind} {{{{ $labels.name }}}} has not been ready for 15 minutes; its condition Ready says why.",
        ),
    ]
    if consumer:
        replicas = consumer["replicas"]
        rules.append(
            _alert(
                "AcceleratorConsumersMissing",
                f"{kind}_consumers{{{job}}} < {replicas}",
                15,
                "warning",
                f"{kind}: too few consumers run",
                f"{VALUE} consumer pods run, expected {replicas}.",
            )
        )
    return rules
