# SPDX-License-Identifier: Apache-2.0
"""Which link between hardware and pod is broken, on what that rests, and what to do about it. Pure. PRIVATE.

A snapshot of the cluster in, a row a node out. What reads the snapshot is _explain_read.
"""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._explain import _records as records
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._explain._chain import LINKS, rows
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._explain._finding import (
    ABSENT,
    BROKEN,
    OK,
    Cluster,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._explain._pod import explain_pod
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._explain._pods import Pod, pod
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._explain._records import Json, Snapshot
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._explain._text import table


class Explained(t.NamedTuple):
    ok: bool  # the chain is whole on a node at least, and broken on none, and every pod that asks starts
    rows: t.List[Json]
    pods: t.List[Json]


def explain(definition: Json, snapshot: Snapshot, pods: t.Optional[t.Sequence[Pod]] = None) -> Explained:
    """pods: those to explain; without it, all that ask for the resource and do not start."""
    cluster = Cluster(definition, snapshot)
    found = rows(cluster)
    asked = _stuck(snapshot) if pods is None else pods
    told = [explain_pod(cluster, one, found) for one in asked]
    whole = any(row["state"] == OK for row in found) and all(row["state"] in (OK, ABSENT) for row in found)
    return Explained(whole and all(one["state"] == OK for one in told), found, told)


def _stuck(snapshot: Snapshot) -> t.List[Pod]:
    """Those that wait for a node; of a controller's, which all wait for the same, the first.

    One that the kubelet rejected stands in its node's row.
    """
    found: t.Dict[t.Tuple[str, str], Pod] = {}
    for one in snapshot.users:
        if not one.node and not one.going and one.phase not in ("Succeeded", "Failed"):
            found.setdefault((one.namespace, one.owner or one.name), one)
    return list(found.values())


def suspects(definition: Json, snapshot: Snapshot) -> t.List[str]:
    """The plugin pods worth asking: on nodes whose chain is not whole as far as it is seen, those that may answer."""
    cluster = Cluster(definition, snapshot)
    bad = [row["node"] for row in rows(cluster) if row["state"] not in (OK, ABSENT)]
    found = [cluster.plugins[name] for name in bad if name in cluster.plugins]
    # One that is not ready may say why: it is so without a kubelet that follows it.
    return [pod.name for pod in found if pod.phase == "Running" and not pod.going]


__all__ = (
    "BROKEN",
    "LINKS",
    "Explained",
    "Pod",
    "Snapshot",
    "explain",
    "pod",
    "records",
    "suspects",
    "table",
)
