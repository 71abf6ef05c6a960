# SPDX-License-Identifier: Apache-2.0
"""What the API server says of a cluster, as accelerator_facts. Pure. PRIVATE to this collection."""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests import _taints as taints

Json = t.Dict[str, t.Any]

MANAGED_BY = "app.kubernetes.io/managed-by"
# Newest first. The operator's API is preferred: where both are served, the other is its operand's.
NFD_APIS = (("nfd.openshift.io/v1", "NodeFeatureDiscovery"), ("nfd.k8s-sigs.io/v1alpha1", "NodeFeatureRule"))
KMM_API = ("kmm.sigs.x-k8s.io/v1beta1", "Module")
OLM_API = ("operators.coreos.com/v1alpha1", "Subscription")
GROUP_API = ("operators.coreos.com/v1", "OperatorGroup")
CSV_API = ("operators.coreos.com/v1alpha1", "ClusterServiceVersion")
CRD_API = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
NAMESPACE_API = ("v1", "Namespace")
NODE_API = ("v1", "Node")
OPENSHIFT_API = ("config.openshift.io/v1", "ClusterVersion")


def served(apis: t.Mapping[str, t.Sequence[str]], api: t.Tuple[str, str]) -> bool:
    return api[1] in apis.get(api[0], ())


def condition(item: Json, kind: str) -> bool:
    conditions = item.get("status", {}).get("conditions") or []
    return any(entry["type"] == kind and entry["status"] == "True" for entry in conditions)


def schedulable(node: Json, tolerations: t.Sequence[Json] = ()) -> bool:
    """Whether the node takes new pods that tolerate no more than this.

    Taints of the node's condition (not-ready, pressure) come and go by themselves, so they do not count here.
    """
    return not taints.untolerated(taints.lasting(taints.repelling(node.get("spec", {}))), tolerations)


def node_facts(node: Json, tolerations: t.Sequence[Json] = ()) -> Json:
    info, status = node["status"].get("nodeInfo", {}), node["status"]
    return {
        "name": node["metadata"]["name"],
        "kernel": info.get("kernelVersion", ""),
        "arch": info.get("architecture", ""),
        "os_image": info.get("osImage", ""),
        "ready": condition(node, "Ready"),
        "schedulable": schedulable(node, tolerations),
        "boot_id": info.get("bootID", ""),
        "labels": node["metadata"].get("labels") or {},
        "capacity": status.get("capacity") or {},
        "allocatable": status.get("allocatable") or {},
    }


def candidates(
    nodes: t.Iterable[Json], labels: t.Mapping[str, str], tolerations: t.Sequence[Json] = ()
) -> t.List[Json]:
    """The nodes that may have the hardware: those with the labels, or else every schedulable Linux worker."""
    found = []
    for node in sorted(nodes, key=lambda one: one["metadata"]["name"]):
        own = node["metadata"].get("labels") or {}
        linux = node["status"].get("nodeInfo", {}).get("operatingSystem", "linux") == "linux"
        made = node_facts(node, tolerations)
        wanted = all(own.get(key) == value for key, value in labels.items()) if labels else made["schedulable"]
        if linux and wanted:
            found.append(made)
    return found


def kernels(nodes: t.Iterable[Json]) -> t.List[Json]:
    """The different kernels of the candidates, with the nodes that run each."""
    found: dict[tuple[str, str], Json] = {}
    for node in nodes:
        entry = found.setdefault(
            (node["kernel"], node["arch"]),
            {"version": node["kernel"], "arch": node["arch"], "os_image": node["os_image"], "nodes": []},
        )
        entry["nodes"].append(node["name"])
    return [found[key] for key in sorted(found)]


def nfd(apis: t.Mapping[str, t.Sequence[str]], instances: t.Sequence[Json]) -> Json:
    names = [f"{item['metadata']['namespace']}/{item['metadata']['name']}" for item in instances]
    return {
        "api": next((api for api, kind in NFD_APIS if served(apis, (api, kind))), None),
        "instances": names,
        "namespace": names[0].split("/")[0] if names else None,
    }


def namespaces(items: t.Iterable[Json]) -> t.Dict[str, t.Optional[str]]:
    """Who made each namespace, as its label says: a teardown removes none that was there before."""
    return {item["metadata"]["name"]: (item["metadata"].get("labels") or {}).get(MANAGED_BY) for item in items}


def going(items: t.Iterable[Json]) -> t.List[str]:
    """The names of those that are being deleted."""
    return [item["metadata"]["name"] for item in items if item["metadata"].get("deletionTimestamp")]


def phase(csvs: t.Iterable[Json]) -> t.Optional[str]:
    """How far OLM is with an operator; while it upgrades one there are two."""
    found = {(csv.get("status") or {}).get("phase") or "Pending" for csv in csvs}
    return "Succeeded" if "Succeeded" in found else min(found, default=None)


def namespace(items: t.Iterable[Json], name: t.Optional[str]) -> t.Optional[Json]:
    """What is written on the accelerator's namespace; None when it is not there."""
    found = next((item["metadata"] for item in items if item["metadata"]["name"] == name), None)
    return found and {key: found.get(key) or {} for key in ("labels", "annotations")}


def subscription(item: Json) -> Json:
    return {
        "name": item["metadata"]["name"],
        "namespace": item["metadata"]["namespace"],
        "package": item["spec"]["name"],
        "managed_by": (item["metadata"].get("labels") or {}).get(MANAGED_BY),
    }


def operator_group(item: Json) -> Json:
    """targets: the namespaces that its operators watch; none means all. A selector's are in the status."""
    spec = item.get("spec") or {}
    found = (item.get("status") or {}).get("namespaces") if spec.get("selector") else spec.get("targetNamespaces")
    return {
        "name": item["metadata"]["name"],
        "namespace": item["metadata"]["namespace"],
        "targets": sorted(filter(None, found or [])),
        "managed_by": (item["metadata"].get("labels") or {}).get(MANAGED_BY),
    }


def no_candidates(server: str, labels: t.Mapping[str, str], nodes: t.Sequence[Json]) -> str:
    """The message for a cluster where no node can have the hardware."""
    if labels:
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        wanted, look = f"a Linux node with labels {selector} (accelerator.nodes)", f"kubectl get nodes -l '{selector}'"
    else:
        wanted, look = (
            "a schedulable Linux worker (accelerator.nodes names others)",
            "kubectl describe nodes | grep -A2 Taints",
        )
    names = [node["metadata"]["name"] for node in nodes]
    seen = f"{len(names)} nodes, none of them such: {', '.join(names[:10])}" if names else "no node at all"
    return f"no node of {server} is a candidate: expected at least {wanted}; seen {seen}; next: {look}"


__all__ = (
    "candidates",
    "going",
    "kernels",
    "namespace",
    "namespaces",
    "nfd",
    "no_candidates",
    "operator_group",
    "phase",
    "served",
    "subscription",
)
