# SPDX-License-Identifier: Apache-2.0
"""Which of the free devices a container should get. Pure.

First from one NUMA node, if one has enough; then packed (devices of which the least is left, so that whole
ones stay free) or spread (those of which the most is left). An ID may be a share: see `shares.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

PACKED, SPREAD = "packed", "spread"


def prefer(
    available: Iterable[str],
    must: Iterable[str],
    size: int,
    numa: Callable[[str], int | None],
    device: Callable[[str], str],
    policy: str,
) -> list[str]:
    """`size` IDs, with all that `must` be among them; fewer when there are not as many."""
    chosen = list(dict.fromkeys(must))
    free = [key for key in dict.fromkeys(available) if key not in set(chosen)]
    near = {numa(key) for key in chosen}
    nodes: dict[int | None, list[str]] = {}
    for key in free:
        nodes.setdefault(numa(key), []).append(key)
    while len(chosen) < size and nodes:
        wanted = size - len(chosen)
        node = min(nodes, key=lambda node: _rank(len(nodes[node]), wanted, node in near, policy))
        chosen += _take(nodes.pop(node), wanted, device, policy)
    return chosen


def _rank(free: int, wanted: int, near: bool, policy: str) -> tuple[bool, bool, int]:
    """Near what must be had; else a node that has enough; of several the fullest or the emptiest."""
    enough = free >= wanted
    return not near, not enough, free if enough and policy == PACKED else -free


def _take(free: list[str], wanted: int, device: Callable[[str], str], policy: str) -> list[str]:
    left = Counter(device(key) for key in free)
    order = {key: place for place, key in enumerate(free)}
    sign = 1 if policy == PACKED else -1
    taken: list[str] = []
    waiting = set(free)
    while waiting and len(taken) < wanted:
        key = min(waiting, key=lambda key: (sign * left[device(key)], order[key]))
        waiting.discard(key)
        left[device(key)] -= 1
        taken.append(key)
    return taken
