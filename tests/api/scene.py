# SPDX-License-Identifier: Apache-2.0
"""What roles find in a cluster: objects of operators and accelerators, without anything that acts on them."""

from __future__ import annotations

from typing import Any

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _definition, _manifests
from stand_ins.kmm import MODULES
from stand_ins.kube import CONFIG_MAPS, DAEMON_SETS, NAMESPACES, Kube, Object, Resource
from stand_ins.nfd import DISCOVERIES, RULES
from stand_ins.olm import GROUPS, SUBSCRIPTIONS

MANAGED_BY, PART_OF = "app.kubernetes.io/managed-by", "app.kubernetes.io/part-of"
PLAYBOOK = "accelerator-playbook"
IMAGES = {name: f"registry.example/team/{name}:1" for name in ("driver", "device_plugin", "operator", "consumer")}
DEPLOYMENTS = Resource("apps/v1", "deployments", "Deployment")
ACCOUNTS, SERVICES = Resource("v1", "serviceaccounts", "ServiceAccount"), Resource("v1", "services", "Service")
MONITORS = Resource("monitoring.coreos.com/v1", "servicemonitors", "ServiceMonitor")
PROMETHEUS_RULES = Resource("monitoring.coreos.com/v1", "prometheusrules", "PrometheusRule")
OPERATORS = (MODULES, DISCOVERIES, RULES, GROUPS, SUBSCRIPTIONS, MONITORS, PROMETHEUS_RULES)
CORE = (CONFIG_MAPS, NAMESPACES, ACCOUNTS, SERVICES, DAEMON_SETS, DEPLOYMENTS)
KINDS = {resource.kind: resource for resource in (*OPERATORS, *CORE)}
KMM_SPEC = {
    "selector": {},
    "moduleLoader": {
        "container": {
            "modprobe": {"moduleName": "m"},
            "kernelMappings": [{"regexp": ".*", "containerImage": "registry.example/m:1"}],
        }
    },
}


def definition(name: str, **over: Any) -> Object:
    given = {
        "name": name,
        "resource": f"acme.example/{name}",
        "managed_by": "playbook",
        "hardware": {"pci": {"vendor": "1234", "device": "11e8"}},
        "driver": {"module": name},
        "images": dict(IMAGES),
    }
    return _definition.load(given, over, "/")


class Scene:
    """Objects that are there before a test, and go with it."""

    def __init__(self, kube: Kube) -> None:
        self.kube = kube
        self.made: list[tuple[Resource, Object]] = []

    def add(self, resource: Resource, name: str, namespace: str = "", labels: Any = None, **fields: Any) -> Object:
        obj = resource.new(name, namespace, **fields)
        obj["metadata"]["labels"] = labels or {}
        return self.put(resource, obj)

    def put(self, resource: Resource, obj: Object) -> Object:
        self.made.append((resource, obj))
        return self.kube.apply(resource, obj, PLAYBOOK)

    def render(self, filled: Object, *stages: str, **seen: Any) -> None:
        facts = {"platform": "kubernetes", "apis": {}, "nodes": [], "namespaces": {}, **seen}
        for stage in stages:
            for obj in _manifests.render(stage, filled, facts, IMAGES):
                self.put(KINDS[obj["kind"]], obj)

    def clear(self) -> None:
        for resource, obj in reversed(self.made):
            if resource != NAMESPACES:  # without a controller they would stay for ever, going
                self.kube.delete(resource, obj["metadata"]["name"], obj["metadata"].get("namespace", ""))
