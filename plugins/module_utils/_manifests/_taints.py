# SPDX-License-Identifier: Apache-2.0
"""Taints of nodes, and what tolerates them. Pure. PRIVATE to this collection.

The rules are the scheduler's: https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/
"""

from __future__ import annotations

import typing as t

Json = t.Dict[str, t.Any]

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
OPERATORS = ("Equal", "Exists")
CORDON = "node.kubernetes.io/unschedulable"
CONDITION = "node.kubernetes.io/"  # taints of what a node is like come and go by themselves, but for a cordon's
# KMM's own, beside those of the Module.
PRESSURE: t.Tuple[Json, ...] = tuple(
    {"key": f"{CONDITION}{what}-pressure", "operator": "Exists", "effect": "NoSchedule"}
    for what in ("memory", "disk", "pid")
)


class Taint(t.NamedTuple):
    key: str
    value: str
    effect: str

    def __str__(self) -> str:
        return f"{self.key}{'=' + self.value if self.value else ''}:{self.effect}"


def repelling(spec: Json) -> t.List[Taint]:
    """The taints in a Node's spec that keep pods away. A cordon that the controller has not yet made one counts."""
    listed = spec.get("taints")
    given = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    found = [Taint(*(str(one.get(field) or "") for field in Taint._fields)) for one in given]
    found = [taint for taint in found if taint.effect in ("NoSchedule", "NoExecute")]
    if spec.get("unschedulable") and CORDON not in {taint.key for taint in found}:
        found.append(Taint(CORDON, "", "NoSchedule"))
    return found


def untolerated(taints: t.Iterable[Taint], tolerations: t.Iterable[Json]) -> t.List[Taint]:
    accepted = list(tolerations)
    return [taint for taint in taints if not any(_tolerates(one, taint) for one in accepted)]


def lasting(taints: t.Iterable[Taint]) -> t.List[Taint]:
    """Those that somebody put on the node and has to take off."""
    return [taint for taint in taints if taint.key == CORDON or not taint.key.startswith(CONDITION)]


def of_pods(tolerations: t.Iterable[Json]) -> t.List[Json]:
    """Of what a driver tolerates, what pods should: none goes to a cordoned node, or stays on a dead one."""
    return [one for one in tolerations if not one["key"].startswith(CONDITION)]


def mistakes(tolerations: t.Iterable[Json]) -> t.Iterator[str]:
    """What the API server has against tolerations whose fields have the right form."""
    for index, one in enumerate(tolerations):
        if one.get("operator") == "Exists" and one.get("value"):
            yield f"tolerations[{index}].value: expected none with operator Exists; seen {one['value']!r}"


def _tolerates(one: Json, taint: Taint) -> bool:
    if one.get("effect") not in (None, "", taint.effect) or one.get("key") not in (None, "", taint.key):
        return False
    return one.get("operator") == "Exists" or (bool(one.get("key")) and (one.get("value") or "") == taint.value)
