# SPDX-License-Identifier: Apache-2.0
"""What is done with a container's devices before each of its starts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from .discovery import Device
from .health import Evidence, Kind, Policy, judge
from .reset import Resets

Look = Callable[[list[Device]], dict[Device, Evidence | None]]


class Handover:
    """Without `resets` no device is reset."""

    def __init__(self, look: Look, policy: Policy, resets: Resets | None = None) -> None:
        self._look = look
        self._policy = policy
        self._resets = resets

    def hindrance(self, devices: list[Device], all_devices: Collection[Device], seconds: float) -> str:
        """Why the container may not start; empty if it may. Takes so long at most, and two looks."""
        return next(filter(None, self._steps(devices, all_devices, seconds)), "")

    def _steps(self, devices: list[Device], all_devices: Collection[Device], seconds: float) -> Iterator[str]:
        yield from self._ill(devices)  # a number may be another driver's by now, whose device is none of ours
        if self._resets is None:
            return
        yield shared(self._resets, devices, all_devices)
        for device, trouble in self._resets.all(devices, seconds).items():
            yield trouble and f"device {device.id!r} ({device.path}) could not be reset: {trouble}"
        yield from self._ill(devices)

    def _ill(self, devices: list[Device]) -> Iterator[str]:
        for device, seen in self._look(devices).items():
            finding = judge(seen, self._policy)
            if finding.kind is not Kind.GOOD:
                yield f"device {device.id!r} ({device.path}): {finding.reason} {finding.evidence}"


def shared(resets: Resets, devices: list[Device], all_devices: Collection[Device]) -> str:
    """Which device that is not of these would be reset with them; empty if none."""
    mine = {place for device in devices if (place := resets.place(device))}
    for other in all_devices:
        if other not in devices and (place := resets.place(other)) in mine:
            return (
                f"{place} resets {other.path} too, which is not this container's; expected "
                "an attribute of one device as --reset-file"
            )
    return ""
