# SPDX-License-Identifier: Apache-2.0
"""What is known of all devices: written by one thread, read by those of the RPCs and the web pages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from .discovery import Device, in_order
from .health import HEALTHY, UNHEALTHY, Evidence, Policy, Record, advance, due, judge

Look = Callable[[list[Device]], Mapping[Device, Evidence | None]]


@dataclass(frozen=True)
class State:
    device: Device
    record: Record
    since: float  # Unix time of the last change of state or reason
    serial: str | None = None
    numa: int | None = None

    @property
    def health(self) -> str:
        """What the kubelet is told. It has two words: a suspicion alone takes no device from anybody."""
        return UNHEALTHY if self.record.state == UNHEALTHY else HEALTHY

    def visible(self) -> tuple[object, ...]:
        return self.device, self.record.state, self.record.reason, self.serial, self.numa


@dataclass(frozen=True)
class Change:
    before: State | None
    after: State


class Inventory:
    """`wall` is for people to read, `clock` (which never jumps) is what verdicts depend on."""

    def __init__(self, wall: Callable[[], float], clock: Callable[[], float], policy: Policy) -> None:
        self.policy = policy
        self._wall = wall
        self._clock = clock
        self._remembered: dict[str, Record] = {}
        self._states: dict[str, State] = {}
        self.looks = 0  # how often all devices were looked at
        self._generation = 0
        self._changed = threading.Condition()

    def remember(self, records: Mapping[str, Record]) -> None:
        """What was known of devices before this process, by `key_of`; used when such a device is found."""
        self._remembered = dict(records)

    def update(self, found: Iterable[Device], look: Look) -> list[Change]:
        """Looks at every device, found now or ever before; returns what changed.

        A device that vanished stays, as unhealthy: capacity then tells that something is missing. It is
        forgotten when the plugin restarts, which an orderly unload of the driver brings about by itself (the
        plugin's pod goes with KMM's ready label).
        """
        devices = self.known(found)
        seen = look(devices)
        now, wall = self._clock(), self._wall()
        before = self._states
        after = {
            device.id: self._next(before.get(device.id), device, seen[device], now, wall)
            for device in devices
        }
        changes = [
            Change(old, state)
            for key, state in after.items()
            if (old := before.get(key)) is None or old.visible() != state.visible()
        ]
        with self._changed:
            self.looks += 1
            self._states = after
            if changes:
                self._generation += 1
                self._changed.notify_all()
        return changes

    def known(self, found: Iterable[Device]) -> list[Device]:
        """The devices found now or ever before."""
        known = {state.device.id: state.device for state in self._states.values()}
        return in_order((known | {device.id: device for device in found}).values())

    def due(self) -> float | None:
        """When to look again though no event comes, by `clock`."""
        times = (due(state.record, self.policy) for state in self._states.values())
        return min((time for time in times if time is not None), default=None)

    def records(self) -> dict[str, Record]:
        """What the next process should remember."""
        now = {key_of(state.device, state.serial): state.record for state in self._states.values()}
        absent = {key: record for key, record in self._remembered.items() if key not in now}
        return absent | now  # the longest unseen first: it is forgotten first

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

    def _next(
        self, old: State | None, device: Device, seen: Evidence | None, now: float, wall: float
    ) -> State:
        serial, numa = (old.serial, old.numa) if old else (None, None)
        if seen is not None and seen.character:
            if old and serial and seen.serial and seen.serial != serial:
                old = None  # another device in the same place: the old one's faults are not its own
            serial, numa = seen.serial or serial, seen.numa
        past = old.record if old else self._remembered.get(key_of(device, serial))
        record = advance(past, judge(seen, self.policy), now, self.policy)
        same = old is not None and (old.device, old.record.state, old.record.reason) == (
            device,
            record.state,
            record.reason,
        )
        return State(device, record, old.since if old and same else wall, serial, numa)


def key_of(device: Device, serial: str | None) -> str:
    """What a device is known by beyond its place: its serial number, if it has one."""
    return f"serial:{serial}" if serial else f"id:{device.id}"
