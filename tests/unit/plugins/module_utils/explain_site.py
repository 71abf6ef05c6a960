# SPDX-License-Identifier: Apache-2.0
"""Objects of a cluster where all is well, as the API server has them; tests break one thing each."""

from __future__ import annotations

import copy
from typing import Any

import definitions
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _explain as explain
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._explain import records
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._health import Report

Obj = dict[str, Any]
DEFINITION = definitions.example()
RESOURCE, NAMESPACE = DEFINITION["resource"], DEFINITION["namespace"]
READY, VERSION_READY = _names.ready_label(DEFINITION), _names.version_ready_label(DEFINITION)
VERSION = _names.version_label(DEFINITION)
PRESENT = "feature.node.kubernetes.io/ptemplate.present"
KERNEL, BOOT = "5.14.0-570.12.1.el9_6.x86_64", "0b1c-boot"
IMAGE = f"registry.example/ptemplate/ptemplate-driver:0.1.0-{KERNEL}"
CONFIG = {"kernelVersion": KERNEL, "containerImage": IMAGE, "modprobe": {"moduleName": "ptemplate_char_dev"}}
ENTRY = {"name": "ptemplate", "namespace": NAMESPACE, "version": "0.1.0", "config": CONFIG}
APIS = [
    "kmm.sigs.x-k8s.io/v1beta1/Module",
    "nfd.openshift.io/v1alpha1/NodeFeatureRule",
    "nfd.openshift.io/v1/NodeFeatureDiscovery",
    "nfd.openshift.io/v1alpha1/NodeFeature",
]


def node(name: str = "worker-1") -> Obj:
    counts = {"cpu": "8", "memory": "32Gi", "pods": "250", RESOURCE: "5"}
    labels = {PRESENT: "true", VERSION: "0.1.0", READY: "", VERSION_READY: "0.1.0", "kubernetes.io/hostname": name}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {},
        "status": {
            "conditions": [{"type": "Ready", "status": "True", "message": "kubelet is posting ready status"}],
            "nodeInfo": {"kernelVersion": KERNEL, "bootID": BOOT, "operatingSystem": "linux"},
            "capacity": dict(counts),
            "allocatable": dict(counts),
        },
    }


def feature(name: str = "worker-1", device: str = "11e8") -> Obj:
    attributes = {"vendor": "1234", "device": device, "class": "00ff"}
    features = {"instances": {"pci.device": {"elements": [{"attributes": attributes}]}}}
    return {"metadata": {"name": name, "namespace": "openshift-nfd"}, "spec": {"features": features}}


def pod(name: str, namespace: str = NAMESPACE, on: str | None = "worker-1", **labels: str) -> Obj:
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {**({"nodeName": on} if on else {}), "containers": [{"name": "main", "image": "registry.example/x:1"}]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "main", "state": {"running": {}}}],
        },
    }


def user(name: str, devices: int, on: str | None = "worker-1", namespace: str = "team") -> Obj:
    """A pod that asks for devices."""
    made = pod(name, namespace, on)
    made["spec"]["containers"][0]["resources"] = {"limits": {RESOURCE: str(devices), "memory": "1Gi"}}
    made["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "name": "training", "controller": True}]
    if not on:
        waiting = {"type": "PodScheduled", "status": "False", "message": f"0/3 nodes: Insufficient {RESOURCE}"}
        made["status"] = {"phase": "Pending", "conditions": [waiting]}
    return made


def plugin(name: str = "worker-1") -> Obj:
    return pod(f"plugin-{name}", on=name, **_names.plugin_labels(DEFINITION))


def state(made: Obj, phase: str, **container: Any) -> Obj:
    """The same pod with one container in that state."""
    status = {"phase": phase, "conditions": [{"type": "Ready", "status": "False"}]}
    return {**made, "status": {**status, "containerStatuses": [{"name": "main", "state": container}]}}


def site() -> Obj:
    """Lists by what they are lists of, as raw objects; reports and features are what was read of each."""
    module_container = {
        "version": "0.1.0",
        "kernelMappings": [{"regexp": "^.+$", "containerImage": IMAGE.replace(KERNEL, _names.KERNEL)}],
        "modprobe": {"moduleName": "ptemplate_char_dev"},
    }
    return {
        "nodes": [node()],
        "apis": list(APIS),
        "features": [feature()],
        "rules": [{"metadata": {"name": "ptemplate"}, "spec": {"rules": [{"labels": {PRESENT: "true"}}]}}],
        "customs": [
            {
                "metadata": {"name": "ptemplate", "namespace": NAMESPACE, "generation": 2},
                "spec": {"selector": {PRESENT: "true"}},
                "status": {"observedGeneration": 2, "conditions": [{"type": "Ready", "status": "True"}]},
            }
        ],
        "modules": [
            {
                "metadata": {"name": "ptemplate", "namespace": NAMESPACE},
                "spec": {"selector": {PRESENT: "true"}, "moduleLoader": {"container": module_container}},
            }
        ],
        "images": [{"status": {"imagesStates": [{"image": IMAGE, "status": "Exists"}]}}],
        "node_configs": [
            {
                "metadata": {"name": "worker-1"},
                "spec": {"modules": [copy.deepcopy(ENTRY)]},
                "status": {"modules": [{**copy.deepcopy(ENTRY), "bootId": BOOT}]},
            }
        ],
        "daemon_sets": [
            {
                "metadata": {"name": "ptemplate-device-plugin", "labels": {}},
                "spec": {"template": {"spec": {"nodeSelector": {READY: ""}}}},
                "status": {"desiredNumberScheduled": 1, "numberReady": 1},
            }
        ],
        "pods": [plugin(), pod("operator", **{_names.LABEL_NAME: "ptemplate-operator"})],
        "users": [],
        "reports": {},
        "unread": {},
    }


def devices(*health: str) -> Report:
    listed = [{"id": str(n), "health": word, "reason": f"{word}Reason"} for n, word in enumerate(health)]
    return Report(True, listed)


def snapshot(raw: Obj) -> explain.Snapshot:
    """As the reader makes it."""
    hardware = DEFINITION["hardware"]
    return explain.Snapshot(
        nodes=[records.node(one) for one in raw["nodes"]],
        apis=frozenset(raw["apis"]),
        features={records.name_of(one): records.has_hardware(one, hardware) for one in raw["features"]},
        rules={records.name_of(one): records.rule_labels(one) for one in raw["rules"]},
        customs=[records.custom(one) for one in raw["customs"]],
        modules=[records.module(one) for one in raw["modules"]],
        images={image: said for one in raw["images"] for image, said in records.image_states(one).items()},
        node_configs={
            records.name_of(one): records.node_config(one, NAMESPACE, "ptemplate") for one in raw["node_configs"]
        },
        daemon_sets=[records.daemon_set(one) for one in raw["daemon_sets"]],
        pods=[explain.pod(one) for one in raw["pods"]],
        users=[explain.pod(one) for one in raw["users"]],
        reports=dict(raw["reports"]),
        unread=dict(raw["unread"]),
    )
