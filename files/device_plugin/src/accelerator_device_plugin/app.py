# SPDX-License-Identifier: Apache-2.0
"""Puts the parts together: threads for the devices, the kubelet, the state file and HTTP."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from . import uevent, web
from .bounded import Bounded
from .cdi import SpecFile
from .discovery import Device, discover, folders
from .evidence import Sources, health_file, observe
from .handover import Handover
from .health import Evidence, Policy
from .inventory import Inventory
from .kubelet import Kubelet, Superfluous
from .memory import Memory, this_boot
from .metrics import Metrics
from .pods import Pods
from .reset import Resets, reset, target
from .service import DevicePlugin, Grant
from .watch import Watch

_log = logging.getLogger(__name__)
_LOOK = 2.0  # seconds that a driver has to answer; health.Policy.silence judges those that do not
_BREATH = 0.1  # seconds at most between a look and the next, for as long as the look took
_SHORTEST = 0.01  # seconds between two looks that no event asked for


@dataclass(frozen=True)
class Settings:
    resource: str
    device_glob: str
    grant: Grant
    interval: float
    http_port: int
    plugin_dir: Path
    root: Path
    sysfs: Path
    node: str | None = None
    policy: Policy = field(default_factory=Policy)
    health_file: str = ""
    serial_file: str = ""
    probe: bool = False
    state_file: Path | None = None
    cdi_dir: Path | None = None
    pod_resources: Path | None = None
    reset_file: str = ""

    def sources(self) -> Sources:
        return Sources(self.root, self.sysfs, self.health_file, self.serial_file, self.probe)


class App:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.inventory = Inventory(time.time, time.monotonic, settings.policy)
        self._memory: Memory | None = None
        if settings.state_file is not None:
            self._memory = Memory(settings.state_file, time.monotonic, this_boot())
            self.inventory.remember(self._memory.load())
        self.metrics = Metrics(settings.resource, self.inventory)
        self._pods: Pods | None = None
        if settings.pod_resources is not None:
            self._pods = Pods(
                settings.pod_resources, settings.resource, settings.grant.replicas, time.monotonic
            )
            self.metrics.tell_pods(self._pods)
        self._device_watch, self._socket_watch = Watch(), Watch()
        self._sources = settings.sources()
        self._looks: Bounded[Device, Evidence] = Bounded(
            lambda device: observe(self._sources, device, self.metrics.probed), _LOOK, self._device_watch.ring
        )
        self._cdi = (
            SpecFile(settings.cdi_dir, settings.resource, settings.grant.permissions)
            if settings.cdi_dir
            else None
        )
        service = DevicePlugin(self.inventory, settings.grant, self.metrics, self._handover())
        self.kubelet = Kubelet(
            settings.plugin_dir,
            settings.resource,
            service,
            self.metrics,
            self._socket_watch,
            settings.interval,
        )
        self.http_port = 0
        self._looked_at = time.monotonic()
        self._stopping = threading.Event()
        self._to_remember = threading.Event()
        self._failed = False

    def _handover(self) -> Handover:
        settings = self.settings
        if not settings.reset_file:
            return Handover(self._looks.all, settings.policy)
        place = settings.root, settings.sysfs, settings.reset_file
        resets = Resets(functools.partial(reset, *place), functools.partial(target, *place))
        return Handover(self._looks.all, settings.policy, resets)

    def run(self) -> int:
        """Returns the exit code, after `stop` or when a part failed."""
        try:
            server = web.serve(self.settings.http_port, self._pages())
        except OSError as error:
            _log.error(
                "--http-port %d: %s; see `ss -tlnp` on the node", self.settings.http_port, error.strerror
            )
            return 1
        self.http_port = server.server_port
        self._look()  # the first list that the kubelet gets is complete
        uevents = uevent.listen()
        if uevents is not None:
            pattern = self.settings.device_glob
            self._device_watch.listen(uevents.fileno(), lambda: uevent.news(uevents, pattern))
        threads = [
            threading.Thread(target=self._guard, args=(part,), name=name)
            for name, part in (
                ("devices", self._watch_devices),
                ("kubelet", self._follow_kubelet),
                ("memory", self._keep_memory),
            )
        ]
        for thread in threads:
            thread.start()
        self._stopping.wait()
        watches = (self._device_watch, self._socket_watch)
        for watch in watches:
            watch.ring()
        self._to_remember.set()
        for thread in threads:
            thread.join()
        for watch in watches:
            watch.close()
        if uevents is not None:
            uevents.close()
        server.shutdown()
        server.server_close()
        return 1 if self._failed else 0

    def stop(self) -> None:
        self._stopping.set()

    def _guard(self, part: Callable[[], None]) -> None:
        """A part that fails ends the whole: a restart is better than a plugin that is half there."""
        try:
            part()
        except Superfluous as trouble:
            _log.error("stopping: %s", trouble)
            self._failed = True
            self.stop()
        except Exception:
            _log.exception("stopping: the %s thread failed", threading.current_thread().name)
            self._failed = True
            self.stop()

    def _follow_kubelet(self) -> None:
        self.kubelet.run(self._stopping.is_set)

    def _keep_memory(self) -> None:
        """In a thread of its own: a slow disk delays no verdict."""
        while self._memory is not None:
            self._to_remember.wait(self.settings.interval)
            self._to_remember.clear()
            last = self._stopping.is_set()  # asked first, so that the last save sees all that was known then
            self._memory.save(self.inventory.records())
            if last:
                return

    def _watch_devices(self) -> None:
        began, took = time.monotonic(), 0.0
        while not self._stopping.is_set():
            now, due, interval = time.monotonic(), self.inventory.due(), self.settings.interval
            # What no event told is known within one interval: the next look should have ended by then.
            wait = max(began + interval - took - now, interval / 2)
            self._device_watch.wait(wait if due is None else min(wait, max(due - now, _SHORTEST)))
            began = time.monotonic()
            self._look()
            took = time.monotonic() - began
            # Half of one processor at most, however many events there are.
            self._stopping.wait(min(took, _BREATH))

    def _look(self) -> None:
        root, pattern = self.settings.root, self.settings.device_glob
        self._device_watch.add(folders(root, pattern))
        devices = discover(root, pattern)
        # Watched before it is read: a change in between is an event, and not lost.
        files = (health_file(self._sources, device) for device in devices)
        self._device_watch.add_files(path for path in files if path)
        if self._cdi is not None:
            self._cdi.write(self.inventory.known(devices))  # before a kubelet hears of a new one
        changes = self.inventory.update(devices, self._looks.all)
        if changes:
            self._to_remember.set()
        for change in changes:
            self.metrics.changed(change)
            device, record = change.after.device, change.after.record
            _log.info("%s: %s (%s) %s", device.path, record.state, record.reason, record.evidence)
        self._looked_at = time.monotonic()

    def _pages(self) -> dict[str, web.Page]:
        return {
            "/metrics": lambda: (200, "text/plain; version=0.0.4; charset=utf-8", self.metrics.text()),
            "/devices": lambda: (200, "application/json", self._devices()),
            "/healthz": self._healthz,
            "/readyz": self._readyz,
        }

    def _devices(self) -> bytes:
        given, states = self.settings, self.inventory.snapshot()[1]
        registered, replicas = self.kubelet.registered(), given.grant.replicas
        pods = self._pods() if self._pods else None
        return web.devices_page(given.resource, given.node, registered, states, replicas, pods)

    def _healthz(self) -> tuple[int, str, bytes]:
        """Alive: devices are looked at and our socket is served. No kubelet is no reason to restart us."""
        bound = 30 + 3 * self.settings.interval
        for what, at in (
            ("devices not looked at", self._looked_at),
            ("socket not served", self.kubelet.alive_at),
        ):
            if (age := time.monotonic() - at) > bound:
                return 503, "text/plain", f"{what} for {age:.0f} s, at most {bound:.0f} s expected\n".encode()
        return 200, "text/plain", b"ok\n"

    def _readyz(self) -> tuple[int, str, bytes]:
        if self.kubelet.registered():
            return 200, "text/plain", b"ok\n"
        return (
            503,
            "text/plain",
            f"no kubelet follows {self.kubelet.socket}; see the log\n".encode(),
        )
