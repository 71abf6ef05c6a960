# SPDX-License-Identifier: Apache-2.0
"""What is known of all devices: written by one thread, read by those of the RPCs and the web pages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .discovery import Device, in_order
from .health import Evidence, Verdict, judge


@dataclass(frozen=True)
class State:
    device: Device
    verdict: Verdict
    since: float


class Inventory:
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._states: dict[str, State] = {}
        self._generation = 0
        self._changed = threading.Condition()

    def update(self, found: Iterable[Device], observe: Callable[[Device], Evidence]) -> list[State]:
        """Looks at every device, found now or ever before; returns those whose state changed.

        A device that vanished stays, as unhealthy: capacity then tells that something is missing. It is
        forgotten when the plugin restarts, which an orderly unload of the driver brings about by itself (the
        plugin's pod goes with KMM's ready label).
        """
        known = {state.device.id: state.device for state in self._states.values()}
        devices = in_order((known | {device.id: device for device in found}).values())
        verdicts = [(device, judge(observe(device))) for device in devices]
        with self._changed:
            before, now = self._states, self._clock()
            self._states = {}
            for device, verdict in verdicts:
                old = before.get(device.id)
                same = old is not None and (old.device, old.verdict) == (device, verdict)
                self._states[device.id] = old if old and same else State(device, verdict, now)
            changed = [state for key, state in self._states.items() if state is not before.get(key)]
            if changed:
                self._generation += 1
                self._changed.notify_all()
        return changed

    def snapshot(self) -> tuple[int, dict[str, State]]:
        """The states by device ID, and the number of the change that led to them."""
        with self._changed:
            return self._generation, self._states

    def wait(self, seen: int, alive: Callable[[], bool]) -> None:
        """Returns when there is a change after number `seen`, or when `alive` says no (see `wake`)."""
        with self._changed:
            self._changed.wait_for(lambda: self._generation != seen or not alive())

    def wake(self) -> None:
        """Lets those who wait look again whether they are alive."""
        with self._changed:
            self._changed.notify_all()
