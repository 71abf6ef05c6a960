# SPDX-License-Identifier: Apache-2.0
"""Everything that a teardown could leave behind, and what is different between two times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conftest import Lab

# What a cluster makes and unmakes by itself.
FLEETING = {
    "events",
    "leases",
    "endpointslices",
    "endpoints",
    "componentstatuses",
    "pods",
    "replicasets",
    "controllerrevisions",
}
NAME = '{{.kind}} {{with .metadata.namespace}}{{.}}/{{end}}{{.metadata.name}}{{"\\n"}}'
# A module from outside the kernel's tree. Those of the distribution come with the first pod's network, and stay.
OUT_OF_TREE = "grep -l O /sys/module/*/taint | cut -d/ -f4"

PLUGINS = "/var/lib/kubelet/device-plugins"  # the kubelet's own checkpoint is there, too


def snapshot(lab: Lab) -> dict[str, Any]:
    """Every object's name by kind, and what is on the nodes: labels, annotations, capacity, modules, device nodes."""
    kinds = lab.kubectl("api-resources", "--verbs=list", "-o", "name").split()
    wanted = sorted(kind for kind in kinds if kind.split(".")[0] not in FLEETING)
    template = f"go-template={{{{range .items}}}}{NAME}{{{{end}}}}"
    names = lab.kubectl("get", ",".join(wanted), "-A", "--ignore-not-found", "-o", template).splitlines()
    nodes = {}
    for node in lab.get("nodes")["items"]:
        name = node["metadata"]["name"]
        nodes[name] = {
            "labels": node["metadata"].get("labels", {}),
            "annotations": sorted(node["metadata"].get("annotations", {})),
            "capacity": sorted(node["status"]["capacity"]),
            "taints": node["spec"].get("taints", []),
            "modules": sorted(lab.ssh(name, f"{OUT_OF_TREE} || true").split()),
            "devices": lab.ssh(name, "ls -d /dev/ptemplate-* /dev/widget-* 2>/dev/null || true").split(),
            "plugins": lab.ssh(name, f"cd {PLUGINS}; ls *.sock").split(),
        }
    return {"objects": sorted(set(names)), "nodes": nodes, "kinds": sorted(kinds)}


def difference(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    found = []
    for part in ("kinds", "objects"):
        found += [f"+ {part}: {name}" for name in sorted(set(after[part]) - set(before[part]))]
        found += [f"- {part}: {name}" for name in sorted(set(before[part]) - set(after[part]))]
    for name, node in after["nodes"].items():
        for key, value in node.items():
            if value != before["nodes"][name][key]:
                found.append(f"~ node {name} {key}: {before['nodes'][name][key]} -> {value}")
    return found
