# SPDX-License-Identifier: Apache-2.0
"""What is done with a container's devices before each of its starts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from .discovery import Device
from .health import Evidence, Kind, Policy, judge
from .reset import Resets

Look = Callable[[list[Device]], dict[Device, Evidence | None]]
Target = Callable[[Device], str]


class Handover:
    """resets and target: of devices that are to be reset; none are without. `target` tells who shares one."""

    def __init__(
        self, look: Look, policy: Policy, resets: Resets | None = None, target: Target | None = None
    ) -> None:
        self._look = look
        self._policy = policy
        self._resets = resets
        self._target = target

    def hindrance(self, devices: list[Device], all_devices: Collection[Device], seconds: float) -> str:
        """Why the container may not start; empty if it may. Takes so long at most, and two looks."""
        for step in self._steps(devices, all_devices, seconds):
            if step:
                return step
        return ""

    def _steps(self, devices: list[Device], all_devices: Collection[Device], seconds: float) -> Iterator[str]:
        yield from self._ill(devices)  # a number may be another driver's by now, whose device is none of ours
        if self._resets is None:
            return
        yield self._shared(devices, all_devices)
        for device, trouble in self._resets.all(devices, seconds).items():
            yield trouble and f"device {device.id!r} ({device.path}) could not be reset: {trouble}"
        yield from self._ill(devices)

    def _ill(self, devices: list[Device]) -> Iterator[str]:
        for device, seen in self._look(devices).items():
            finding = judge(seen, self._policy)
            if finding.kind is not Kind.GOOD:
                yield f"device {device.id!r} ({device.path}): {finding.reason} {finding.evidence}"

    def _shared(self, devices: list[Device], all_devices: Collection[Device]) -> str:
        mine = {place for device in devices if (place := self._place(device))}
        for other in all_devices:
            if other not in devices and self._place(other) in mine:
                return (
                    f"{self._place(other)} resets {other.path} too, which is not this container's; expected "
                    "an attribute of one device as --reset-file"
                )
        return ""

    def _place(self, device: Device) -> str | None:
        try:
            return self._target(device) if self._target else None
        except OSError:
            return None
