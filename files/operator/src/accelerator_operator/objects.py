# SPDX-License-Identifier: Apache-2.0
"""What the operator knows about objects: the kinds that it writes, whose they are, and the little that it keeps of
a Node or a Pod. Pure."""

from __future__ import annotations

import hashlib
import json
from typing import Any, NamedTuple

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests import _taints

Obj = dict[str, Any]
Key = tuple[str, str]


class Kind(NamedTuple):
    """Where the API serves a kind."""

    group: str
    version: str
    plural: str
    namespaced: bool = True


# The kinds that the stages kmm, device_plugin and consumer may hold: README.md, "Permissions".
OWNED_KINDS = {
    "Module": Kind("kmm.sigs.x-k8s.io", "v1beta1", "modules"),
    "DaemonSet": Kind("apps", "v1", "daemonsets"),
    "Deployment": Kind("apps", "v1", "deployments"),
    "Service": Kind("", "v1", "services"),
    "ServiceAccount": Kind("", "v1", "serviceaccounts"),
    "RoleBinding": Kind("rbac.authorization.k8s.io", "v1", "rolebindings"),
}
POD = Kind("", "v1", "pods")
EVENT = Kind("events.k8s.io", "v1", "events")
NODE = Kind("", "v1", "nodes", namespaced=False)


def key(obj: Obj) -> Key:
    return obj["kind"], obj["metadata"]["name"]


def labels(obj: Obj) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def generation(objects: list[Obj], kind: str) -> int | None:
    """Of the first object of a kind: it grows with each change of the spec."""
    return next((obj["metadata"].get("generation") for obj in objects if obj["kind"] == kind), None)


def is_going(obj: Obj) -> bool:
    return "deletionTimestamp" in obj["metadata"]


def owner_uid(obj: Obj) -> str | None:
    """uid of the custom resource that controls the object, if one does."""
    references = obj["metadata"].get("ownerReferences") or []
    return next((reference["uid"] for reference in references if reference.get("controller")), None)


def with_owner(obj: Obj, resource: Obj) -> Obj:
    """The object, to be collected with the custom resource if the operator should never get to delete it.

    Without blockOwnerDeletion: a foreground deletion would else take everything at once, the account with which KMM
    unloads included, and not in the order of teardown().
    """
    if obj["metadata"].get("namespace") != resource["metadata"]["namespace"]:
        return obj
    reference = {
        "apiVersion": resource["apiVersion"],
        "kind": resource["kind"],
        "name": resource["metadata"]["name"],
        "uid": resource["metadata"]["uid"],
        "controller": True,
    }
    return {**obj, "metadata": {**obj["metadata"], "ownerReferences": [reference]}}


def digest(obj: Obj) -> str:
    return hashlib.sha256(json.dumps(obj, sort_keys=True).encode()).hexdigest()


def fingerprint(live: Obj) -> str:
    """Of all that somebody may have changed by hand: not the status, nor what the API server counts, nor the
    apiVersion, which items of a list come without."""
    volatile = ("resourceVersion", "managedFields", "generation")
    metadata = {name: value for name, value in live["metadata"].items() if name not in volatile}
    return digest({**live, "metadata": metadata, "status": None, "apiVersion": None})


def node_view(node: Obj) -> Obj:
    """The part of a Node that decides anything here, in the form of `accelerator_facts.nodes`; thousands are kept."""
    spec, status, metadata = node.get("spec", {}), node.get("status", {}), node["metadata"]
    info = status.get("nodeInfo", {})
    conditions = {condition["type"]: condition["status"] for condition in status.get("conditions") or []}
    return {
        "name": metadata["name"],
        "uid": metadata["uid"],
        "kernel": info.get("kernelVersion", ""),
        "arch": info.get("architecture", ""),
        "os_image": info.get("osImage", ""),
        "ready": conditions.get("Ready") == "True",
        "taints": _taints.repelling(spec),
        "boot_id": info.get("bootID", ""),
        "labels": metadata.get("labels") or {},
        "capacity": status.get("capacity") or {},
        "allocatable": status.get("allocatable") or {},
    }


# KMM's workers, its device plugin's pods, and the pods that try whether an image can be pulled.
KMM_POD_LABELS = ("kmm.node.kubernetes.io/module.name", "kmm.node.kubernetes.io/image-owner")
KMM_ROLE_LABEL = "kmm.node.kubernetes.io/role"


def is_kmms(pod: Obj, accelerator: str) -> bool:
    return accelerator in (labels(pod).get(label) for label in KMM_POD_LABELS)


def component_of(pod: Obj, accelerator: str) -> str | None:
    """Our pods say what they are, KMM's whose they are; None for a pod of somebody else."""
    if is_kmms(pod, accelerator):
        return labels(pod).get(KMM_ROLE_LABEL, "driver")
    return labels(pod).get(_names.LABEL_COMPONENT) if labels(pod).get(_names.LABEL_INSTANCE) == accelerator else None


def pod_is_running(pod: Obj) -> bool:
    conditions = pod.get("status", {}).get("conditions") or []
    ready = any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
    return ready and not is_going(pod)


# Reasons of a waiting container that do not go away by themselves.
STUCK = frozenset(
    (
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "RunContainerError",
    )
)


def pod_problem(pod: Obj) -> str | None:
    """Why a pod does not come up, as its status tells it; None while it is well or merely on the way."""
    status = pod.get("status", {})
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    for container in containers:
        waiting = container.get("state", {}).get("waiting") or {}
        if waiting.get("reason") in STUCK:
            return f"pod {pod['metadata']['name']}: {waiting['reason']}: {waiting.get('message', 'no message')}"
        ended = container.get("state", {}).get("terminated") or {}
        # A kubelet may show a container that it will start again as ended, all the minutes until it does.
        if ended.get("exitCode") and (status.get("phase") == "Failed" or container.get("restartCount")):
            said = ended.get("message") or ended.get("reason", "no message")
            return f"pod {pod['metadata']['name']}: ended with {ended['exitCode']}: {said.strip()}"
    return None
