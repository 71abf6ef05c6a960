# SPDX-License-Identifier: Apache-2.0
"""The conversation with the kubelet: our socket, the registration, and the return after any loss of either.

Level-triggered: each step compares what is with what should be (our socket in the folder, a registration with
the kubelet that is there now, an open device stream) and mends the difference. Events make steps come sooner.
"""

from __future__ import annotations

import hashlib
import logging
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from deviceplugin_v1beta1 import api_pb2, api_pb2_grpc

from .metrics import Metrics
from .service import DevicePlugin
from .watch import Watch

_log = logging.getLogger(__name__)
_FIRST_DELAY = 0.05  # the kubelet's socket exists a moment before it answers
_LAST_DELAY = 10.0  # seconds between two tries at most, whatever health.interval is
_SHORTEST = 0.01  # seconds
_HANDOVER = 30.0  # seconds that another plugin for the resource has to end: an update's old pod does
_CALL = 10.0  # seconds for Register; also for the kubelet to open the device stream after it

Identity = tuple[int, int]


class Superfluous(Exception):
    """Another process serves our resource on this node and goes on doing so."""


def socket_name(folder: Path, resource: str) -> str:
    """Readable, and short enough for a socket address (107 bytes, of which `.new` takes four)."""
    name = resource.replace("/", "_") + ".sock"
    if len(str(folder / name)) <= 103:
        return name
    return hashlib.sha256(resource.encode()).hexdigest()[:16] + ".sock"


def identity(socket: Path) -> Identity | None:
    """Differs for a socket made anew, even when the file system gives it the old inode number."""
    try:
        status = socket.lstat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def answers(path: Path) -> bool:
    """Whether somebody listens there: the socket that a dead process left behind refuses."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except (BlockingIOError, TimeoutError):
            return True  # too busy to accept, so alive
        except OSError:
            return False
    return True


class Kubelet:
    def __init__(
        self,
        folder: Path,
        resource: str,
        service: DevicePlugin,
        metrics: Metrics,
        watch: Watch,
        interval: float,
    ) -> None:
        self.socket = folder / socket_name(folder, resource)
        self.alive_at = time.monotonic()
        self._kubelet_socket = folder / "kubelet.sock"
        self._resource = resource
        self._service = service
        self._metrics = metrics
        self._watch = watch
        self._interval = interval
        self._server: grpc.Server | None = None
        self._own: Identity | None = None
        self._seen: Identity | None = None  # the kubelet that was there last
        self._registered_with: Identity | None = None
        self._lost = False
        self._stream_due = 0.0
        self._delay = _FIRST_DELAY
        self._not_before = 0.0
        self._complaint = ""
        self._waits_since = 0.0
        service.on_stream = self._stream_changed
        metrics.follow(self.registered)

    def registered(self) -> bool:
        return self._registered_with is not None and self._service.streams > 0

    def run(self, stopped: Callable[[], bool]) -> None:
        try:
            while not stopped():
                self._watch.add([self.socket.parent])
                self._step()
                self._watch.wait(self._pause())
        finally:
            self._close()

    def _pause(self) -> float:
        """Seconds to sleep unless an event comes: until the next try, and never for long without devices."""
        if self.registered():
            return self._interval
        now = time.monotonic()
        due = [max(when - now, _SHORTEST) for when in (self._not_before, self._stream_due) if when > now]
        return min([self._interval, *(due or [_LAST_DELAY])])

    def _step(self) -> None:
        try:
            if not self._serve():
                return
        except (OSError, RuntimeError) as error:
            self._complain(f"cannot listen on {self.socket}: {error}; is the folder mounted writable?")
            return
        self.alive_at = time.monotonic()
        kubelet = identity(self._kubelet_socket)
        if kubelet is None:
            if not self.registered():
                self._complain(f"no {self._kubelet_socket}: waiting for it; see `systemctl status kubelet`")
            return
        if kubelet != self._seen:
            if self._seen is not None:
                _log.info("the kubelet restarted")
                self._metrics.kubelet_restarted()
            self._seen, self._delay, self._not_before = kubelet, _FIRST_DELAY, 0.0
        if self._must_register(kubelet):
            self._register(kubelet)

    def _must_register(self, kubelet: Identity) -> bool:
        now = time.monotonic()
        if kubelet == self._registered_with and (
            self._service.streams or not (self._lost or now > self._stream_due)
        ):
            if self._service.streams and now > self._not_before + self._interval:
                self._delay = _FIRST_DELAY
            return False
        return now >= self._not_before

    def _register(self, kubelet: Identity) -> None:
        self._lost = False
        delay, self._delay = self._delay, min(self._delay * 2, self._interval, _LAST_DELAY)
        request = api_pb2.RegisterRequest(
            version="v1beta1",
            endpoint=self.socket.name,
            resource_name=self._resource,
            options=self._service.options(),
        )
        # A new channel each time: a kept one would wait out its back-off though the kubelet is back.
        pool = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(f"unix:{self._kubelet_socket}", options=pool) as channel:
            try:
                api_pb2_grpc.RegistrationStub(channel).Register(request, timeout=_CALL)
            except grpc.RpcError as error:
                self._registered_with = None
                self._not_before = (
                    time.monotonic() + delay
                )  # a call that ran into its deadline took long by itself
                self._metrics.registration_failed()
                self._complain(
                    f"cannot register {self._resource} at {self._kubelet_socket}: {error.code().name}: "
                    f"{error.details()}; trying again; see `journalctl -u kubelet`"
                )
                return
        self._registered_with = kubelet
        self._not_before = time.monotonic() + delay
        self._stream_due = time.monotonic() + _CALL
        self._complaint = ""
        self._metrics.registration(time.time())
        _log.info("registered %s, serving on %s", self._resource, self.socket)

    def _stream_changed(self) -> None:
        if self._service.streams == 0:
            self._lost = True
            self._watch.ring()

    def _serve(self) -> bool:
        """Makes our socket be there and be ours; replaces one that a plugin before us left behind.

        Not the socket of one that lives: two that take it from each other in turns would both be of no use.
        """
        if self._own is not None and identity(self.socket) == self._own:
            return True
        self._stop_server()
        if answers(self.socket):
            trouble = (
                f"another process listens on {self.socket}: expected one device plugin for {self._resource} "
                "on this node"
            )
            now = time.monotonic()
            self._waits_since = self._waits_since or now
            if now - self._waits_since > _HANDOVER:
                raise Superfluous(
                    f"{trouble}, seen two for {_HANDOVER:g} s; see `kubectl get pods -A -o wide`"
                )
            self._complain(f"{trouble}; waiting {_HANDOVER:g} s until that one ends")
            self.alive_at = now  # we know what we wait for, and for how long
            return False
        self._waits_since = 0.0
        if self._own is not None:
            _log.info("our socket %s is gone: serving anew", self.socket)
        server = grpc.server(
            ThreadPoolExecutor(max_workers=DevicePlugin.MAX_STREAMS + DevicePlugin.MAX_STARTS + 4)
        )
        api_pb2_grpc.add_DevicePluginServicer_to_server(self._service, server)
        # Bound under another name, then moved into place: gRPC removes the name it bound when it stops, which
        # may come late. Also, nobody finds a socket that does not answer yet.
        bound = self.socket.with_name(f"{self.socket.name}.new")
        bound.unlink(missing_ok=True)
        server.add_insecure_port(f"unix:{bound}")
        server.start()
        self._server = server
        bound.replace(self.socket)
        self._own = identity(self.socket)
        self._registered_with = None
        self._not_before = 0.0
        return True

    def _complain(self, complaint: str) -> None:
        """Logs what hinders us once, not at each attempt."""
        if complaint != self._complaint:
            _log.warning("%s", complaint)
        self._complaint = complaint

    def _stop_server(self) -> None:
        if self._server is not None:
            self._server.stop(grace=None).wait()
            self._server = None

    def _close(self) -> None:
        self._service.on_stream = lambda: None
        self._stop_server()
        if self._own is not None and identity(self.socket) == self._own:
            self.socket.unlink(missing_ok=True)
