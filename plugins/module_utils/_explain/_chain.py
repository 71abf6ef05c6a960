# SPDX-License-Identifier: Apache-2.0
"""The chain from the hardware to a pod, walked for each node: the first broken link names the cause. Pure. PRIVATE."""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names as names
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._explain import _links_devices as devices
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._explain import _links_driver as driver
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._explain import _links_node as node_links
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._explain._finding import (
    ABSENT,
    BROKEN,
    OK,
    UNKNOWN,
    Cluster,
    Finding,
    Scene,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._explain._pods import unmatched
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._explain._records import Json, Node
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests._taints import lasting, untolerated

Link = t.Callable[[Scene], Finding]

BY_OPERATOR = "custom_resource"
LINKS: t.Tuple[t.Tuple[str, Link], ...] = (
    ("node", node_links.node_ready),
    ("hardware", node_links.hardware),
    ("label", node_links.label),
    (BY_OPERATOR, driver.custom_resource),
    ("module", driver.module),
    ("selector", driver.selector),
    ("image", driver.image),
    ("node_config", driver.node_config),
    ("loaded", driver.loaded),
    ("device_nodes", devices.device_nodes),
    ("plugin", devices.plugin),
    ("registration", devices.registration),
    ("capacity", devices.capacity),
    ("allocatable", devices.allocatable),
    ("taints", devices.taints),
    ("pod", devices.rejected),
)


def links(definition: Json) -> t.List[t.Tuple[str, Link]]:
    """Without the operator there is no custom resource."""
    return [one for one in LINKS if one[0] != BY_OPERATOR or definition["managed_by"] == "operator"]


def walk(scene: Scene) -> t.Iterator[t.Tuple[str, Finding]]:
    """The links up to the first that is broken: what lies behind it could not work anyway."""
    for name, link in links(scene.cluster.definition):
        finding = link(scene)
        yield name, finding
        if finding.state in (BROKEN, ABSENT):
            return


def row(scene: Scene) -> Json:
    """One node. Where nothing is broken and something could not be seen, that is the link that is named."""
    seen = list(walk(scene))
    named = next((one for one in seen if one[1].state in (BROKEN, ABSENT)), None)
    named = named or next((one for one in seen if one[1].state == UNKNOWN), None)
    name, finding = named or ("", Finding(OK, "", "", ""))
    return {
        "node": scene.node.name,
        "state": finding.state,
        "link": name or None,
        "evidence": {"object": finding.object, "field": finding.field, "value": finding.seen} if name else None,
        "expected": finding.expected,
        "fix": finding.fix,
        "next": finding.next,
        "links": {one: found.state for one, found in seen},
    }


def rows(cluster: Cluster) -> t.List[Json]:
    return [row(Scene(cluster, node)) for node in candidates(cluster)]


def candidates(cluster: Cluster) -> t.List[Node]:
    """The nodes that may have the hardware, as the roles take them, and any that bear a trace of it."""
    wanted, ready = names.hardware_labels(cluster.definition), names.ready_label(cluster.definition)
    nodes = cluster.definition["nodes"]

    def may_have(node: Node) -> bool:
        plain = not untolerated(lasting(node.taints), cluster.tolerations)
        chosen = not unmatched(node.labels, nodes) if nodes else plain
        traced = not unmatched(node.labels, wanted) or ready in node.labels or cluster.resource in node.capacity
        return node.linux and (chosen or traced)

    return sorted((node for node in cluster.snapshot.nodes if may_have(node)), key=lambda node: node.name)
