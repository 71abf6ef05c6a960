# SPDX-License-Identifier: Apache-2.0
"""The RPCs that the kubelet calls."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import grpc
from deviceplugin_v1beta1 import api_pb2, api_pb2_grpc

from . import cdi
from .handover import Handover
from .health import HEALTHY
from .inventory import Inventory, State
from .metrics import Metrics
from .preferred import PACKED, prefer
from .shares import device_of, shares

_log = logging.getLogger(__name__)


class Refused(Exception):
    """A request that cannot be granted; the text reaches the pod's status."""


@dataclass(frozen=True)
class Grant:
    """What a container gets with a device: cgroup permissions, and the variable `<prefix>_<id>=<path>`.

    `cdi_kind`: the container runtime adds the device by this kind's spec, instead of the kubelet by its path.
    """

    permissions: str
    env_prefix: str
    replicas: int = 1
    policy: str = PACKED
    cdi_kind: str = ""
    pre_start: bool = False


_PRE_START = 25.0  # seconds for PreStartContainer; the kubelet waits 30
_ANSWER = 5.0  # of the kubelet's time, for the look after a reset and the answer


class DevicePlugin(api_pb2_grpc.DevicePluginServicer):
    """`streams` is the number of open ListAndWatch calls: the only proof that a kubelet knows us."""

    MAX_STREAMS = 4  # each holds a thread; the kubelet opens one
    MAX_STARTS = 8  # calls that may take long at a time, so that some threads are left for all others

    def __init__(self, inventory: Inventory, grant: Grant, metrics: Metrics, handover: Handover) -> None:
        self.streams = 0
        self.on_stream: Callable[[], None] = lambda: None
        self._counting = threading.Lock()
        self._inventory = inventory
        self._grant = grant
        self._metrics = metrics
        self._handover = handover
        self._starting = threading.BoundedSemaphore(self.MAX_STARTS)

    def options(self) -> api_pb2.DevicePluginOptions:
        return api_pb2.DevicePluginOptions(
            pre_start_required=self._grant.pre_start, get_preferred_allocation_available=True
        )

    def GetDevicePluginOptions(
        self, request: api_pb2.Empty, context: grpc.ServicerContext
    ) -> api_pb2.DevicePluginOptions:
        return self.options()

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
        sent: list[tuple[str, str, int | None]] | None = None
        while context.is_active():
            generation, states = self._inventory.snapshot()
            devices = [(key, state.health, state.numa) for key, state in states.items()]
            if devices != sent:
                sent = devices
                yield api_pb2.ListAndWatchResponse(devices=advertised(states, self._grant.replicas))
            self._inventory.wait(generation, context.is_active)

    def GetPreferredAllocation(
        self, request: api_pb2.PreferredAllocationRequest, context: grpc.ServicerContext
    ) -> api_pb2.PreferredAllocationResponse:
        states, replicas = self._inventory.snapshot()[1], self._grant.replicas

        def device(key: str) -> str:
            return device_of(key, replicas)

        def numa(key: str) -> int | None:
            state = states.get(device(key))
            return state.numa if state else None

        # The kubelet's lists come in no order.
        order = {share: place for place, share in enumerate(_all_shares(states, replicas))}
        answers = [
            api_pb2.ContainerPreferredAllocationResponse(
                deviceIDs=prefer(
                    sorted(one.available_deviceIDs, key=lambda key: (order.get(key, len(order)), key)),
                    one.must_include_deviceIDs,
                    one.allocation_size,
                    numa,
                    device,
                    self._grant.policy,
                )
            )
            for one in request.container_requests
        ]
        return api_pb2.PreferredAllocationResponse(container_responses=answers)

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

    def PreStartContainer(
        self, request: api_pb2.PreStartContainerRequest, context: grpc.ServicerContext
    ) -> api_pb2.PreStartContainerResponse:
        """The last moment at which a container can be kept from devices that it cannot use."""
        remaining = context.time_remaining()
        seconds = min(_PRE_START, max(remaining - _ANSWER, 0.0)) if remaining is not None else _PRE_START
        if not self._starting.acquire(blocking=False):
            context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED, f"{self.MAX_STARTS} containers are about to start already"
            )
        try:
            states = self._inventory.snapshot()[1]
            devices = [state.device for state in granted(states, self._grant, list(request.devices_ids))]
            everybody = [state.device for state in states.values()]
            if hindrance := self._handover.hindrance(devices, everybody, seconds):
                raise Refused(hindrance)
        except Refused as refusal:
            self._metrics.pre_started("refused")
            _log.warning("PreStartContainer refused: %s", refusal)
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(refusal))
        finally:
            self._starting.release()
        self._metrics.pre_started("granted")
        return api_pb2.PreStartContainerResponse()

    def _ended(self) -> None:
        self._count(-1)
        self._inventory.wake()

    def _count(self, step: int) -> None:
        with self._counting:
            self.streams += step
        self.on_stream()


def advertised(states: dict[str, State], replicas: int) -> list[api_pb2.Device]:
    """What the kubelet is told of all devices."""
    return [
        api_pb2.Device(ID=share, health=state.health, topology=_topology(state.numa))
        for key, state in states.items()
        for share in shares(key, replicas)
    ]


def granted(states: dict[str, State], grant: Grant, ids: Iterable[str]) -> list[State]:
    """The devices of these IDs, each once, if all of them are well."""
    refusals = []
    found: dict[str, State] = {}
    for share in ids:
        state = states.get(device_of(share, grant.replicas))
        if state is None or share not in shares(state.device.id, grant.replicas):
            refusals.append(f"device {share!r} is unknown (known: {', '.join(states) or 'none'})")
        elif state.health != HEALTHY:
            refusals.append(f"device {share!r} ({state.device.path}) is unhealthy: {state.record.reason}")
        else:
            found[state.device.id] = state
    if refusals:
        raise Refused("; ".join(refusals) + "; see /devices of the device plugin on this node")
    return list(found.values())


def allocate(states: dict[str, State], grant: Grant, ids: list[str]) -> api_pb2.ContainerAllocateResponse:
    devices = [state.device for state in granted(states, grant, ids)]
    answer = api_pb2.ContainerAllocateResponse(
        envs={f"{grant.env_prefix}_{device.id}": device.path for device in devices}
    )
    if grant.cdi_kind:
        answer.cdi_devices.extend(
            api_pb2.CDIDevice(name=f"{grant.cdi_kind}={cdi.name(device.id)}") for device in devices
        )
    else:
        answer.devices.extend(
            api_pb2.DeviceSpec(
                container_path=device.path, host_path=device.path, permissions=grant.permissions
            )
            for device in devices
        )
    return answer


def _all_shares(states: dict[str, State], replicas: int) -> Iterator[str]:
    return (share for key in states for share in shares(key, replicas))


def _topology(numa: int | None) -> api_pb2.TopologyInfo | None:
    return None if numa is None else api_pb2.TopologyInfo(nodes=[api_pb2.NUMANode(ID=numa)])
