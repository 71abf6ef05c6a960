# SPDX-License-Identifier: Apache-2.0
"""The RPCs that the kubelet calls."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import grpc
from deviceplugin_v1beta1 import api_pb2, api_pb2_grpc

from .health import HEALTHY
from .inventory import Inventory, State
from .metrics import Metrics

_log = logging.getLogger(__name__)


class Refused(Exception):
    """A request that cannot be granted; the text reaches the pod's status."""


@dataclass(frozen=True)
class Grant:
    """What a container gets with a device: cgroup permissions, and the variable `<prefix>_<id>=<path>`."""

    permissions: str
    env_prefix: str


class DevicePlugin(api_pb2_grpc.DevicePluginServicer):
    """`streams` is the number of open ListAndWatch calls: the only proof that a kubelet knows us."""

    MAX_STREAMS = 4  # each holds a thread; the kubelet opens one

    def __init__(self, inventory: Inventory, grant: Grant, metrics: Metrics) -> None:
        self.streams = 0
        self.on_stream: Callable[[], None] = lambda: None
        self._counting = threading.Lock()
        self._inventory = inventory
        self._grant = grant
        self._metrics = metrics

    def GetDevicePluginOptions(
        self, request: api_pb2.Empty, context: grpc.ServicerContext
    ) -> api_pb2.DevicePluginOptions:
        return options()

    def ListAndWatch(
        self, request: api_pb2.Empty, context: grpc.ServicerContext
    ) -> Iterator[api_pb2.ListAndWatchResponse]:
        if self.streams >= self.MAX_STREAMS:
            context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED, f"{self.streams} ListAndWatch streams are open already"
            )
        self._count(+1)
        if not context.add_callback(self._ended):
            self._ended()
        sent: list[tuple[str, str]] | None = None
        while context.is_active():
            generation, states = self._inventory.snapshot()
            devices = [(key, state.health) for key, state in states.items()]
            if devices != sent:
                sent = devices
                yield api_pb2.ListAndWatchResponse(
                    devices=[api_pb2.Device(ID=key, health=health) for key, health in devices]
                )
            self._inventory.wait(generation, context.is_active)

    def Allocate(
        self, request: api_pb2.AllocateRequest, context: grpc.ServicerContext
    ) -> api_pb2.AllocateResponse:
        states = self._inventory.snapshot()[1]
        try:
            answers = [
                allocate(states, self._grant, list(one.devices_ids)) for one in request.container_requests
            ]
        except Refused as refusal:
            self._metrics.allocated("refused")
            _log.warning("Allocate refused: %s", refusal)
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(refusal))
        self._metrics.allocated("granted")
        return api_pb2.AllocateResponse(container_responses=answers)

    def _ended(self) -> None:
        self._count(-1)
        self._inventory.wake()

    def _count(self, step: int) -> None:
        with self._counting:
            self.streams += step
        self.on_stream()


def options() -> api_pb2.DevicePluginOptions:
    """No PreStartContainer and no GetPreferredAllocation: the kubelet chooses among the healthy devices."""
    return api_pb2.DevicePluginOptions()


def allocate(states: dict[str, State], grant: Grant, ids: list[str]) -> api_pb2.ContainerAllocateResponse:
    refusals = []
    for key in ids:
        state = states.get(key)
        if state is None:
            refusals.append(f"device {key!r} is unknown (known: {', '.join(states) or 'none'})")
        elif state.health != HEALTHY:
            refusals.append(f"device {key!r} ({state.device.path}) is unhealthy: {state.record.reason}")
    if refusals:
        raise Refused("; ".join(refusals) + "; see /devices of the device plugin on this node")
    paths = {key: states[key].device.path for key in ids}
    return api_pb2.ContainerAllocateResponse(
        envs={f"{grant.env_prefix}_{key}": path for key, path in paths.items()},
        devices=[
            api_pb2.DeviceSpec(container_path=path, host_path=path, permissions=grant.permissions)
            for path in paths.values()
        ],
    )
