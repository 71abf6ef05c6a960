# SPDX-License-Identifier: Apache-2.0
"""From evidence about a device to a state. Pure; `evidence.py` collects, this module judges."""

from __future__ import annotations

from dataclasses import dataclass

HEALTHY = "Healthy"  # the kubelet's two words
UNHEALTHY = "Unhealthy"


@dataclass(frozen=True)
class Evidence:
    """What was seen of a device node. `kernel_name` is the kernel's name (DEVNAME) for the node's number."""

    exists: bool
    character: bool = False
    name: str | None = None
    kernel_name: str | None = None


@dataclass(frozen=True)
class Verdict:
    health: str
    reason: str


def judge(seen: Evidence) -> Verdict:
    if not seen.exists:
        return Verdict(UNHEALTHY, "NodeMissing")
    if not seen.character:
        return Verdict(UNHEALTHY, "NotACharacterDevice")
    if seen.kernel_name is None:
        # A node made by hand outlives its driver; opening it would fail with ENXIO.
        return Verdict(UNHEALTHY, "NoDriver")
    if seen.kernel_name != seen.name:
        # Dynamic minors are given again: the old node would lead into another driver's device.
        return Verdict(UNHEALTHY, "OtherDriver")
    return Verdict(HEALTHY, "Present")
