# SPDX-License-Identifier: Apache-2.0
"""Which pod has which device, by the kubelet's word: its pod resources API. Only when somebody asks us.

The plugin itself never learns it: Allocate names devices and no pod.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
from podresources_v1 import api_pb2, api_pb2_grpc
from prometheus_client.core import GaugeMetricFamily

from .shares import device_of

_log = logging.getLogger(__name__)
_ANSWER = 2.0  # seconds; who asks us waits no longer than for the rest of the page
_FRESH = 1.0  # seconds for which an answer is not asked for again, however many ask us
_MOST = 16 << 20  # bytes of an answer: a node with many pods and CPUs pinned says more than gRPC's 4 MiB


@dataclass(frozen=True, order=True)
class Holder:
    namespace: str
    name: str
    container: str


Holders = dict[str, list[Holder]]


def holders(answer: api_pb2.ListPodResourcesResponse, resource: str, replicas: int) -> Holders:
    """The containers that have a device, by the device's ID."""
    found: dict[str, set[Holder]] = {}
    for pod in answer.pod_resources:
        for container in pod.containers:
            for one in container.devices:
                if one.resource_name == resource:
                    holder = Holder(pod.namespace, pod.name, container.name)
                    for share in one.device_ids:
                        found.setdefault(device_of(share, replicas), set()).add(holder)
    return {key: sorted(who) for key, who in found.items()}


class Pods:
    """Asks the kubelet. None: it did not answer, which is no answer that nobody has a device."""

    def __init__(self, socket: Path, resource: str, replicas: int, clock: Callable[[], float]) -> None:
        self._socket = socket
        self._resource = resource
        self._replicas = replicas
        self._clock = clock
        self._lock = threading.Lock()
        self._asked_at = float("-inf")
        self._known: Holders | None = None
        self._complaint = ""

    def __call__(self) -> Holders | None:
        with self._lock:
            if self._clock() - self._asked_at >= _FRESH:
                self._known = self._ask()
                self._asked_at = self._clock()
            return self._known

    def _ask(self) -> Holders | None:
        options = [("grpc.max_receive_message_length", _MOST), ("grpc.use_local_subchannel_pool", 1)]
        try:
            with grpc.insecure_channel(f"unix:{self._socket}", options=options) as channel:
                lister = api_pb2_grpc.PodResourcesListerStub(channel)
                answer = lister.List(api_pb2.ListPodResourcesRequest(), timeout=_ANSWER)
        except grpc.RpcError as error:
            complaint = f"{error.code().name}: {error.details()}"
            if complaint != self._complaint:  # once, not at each page
                _log.warning("%s: %s; who has the devices is not known until then", self._socket, complaint)
            self._complaint = complaint
            return None
        self._complaint = ""
        return holders(answer, self._resource, self._replicas)


class PodsMetric:
    """One series for each container and device of it: as many as devices, times those who may share them."""

    def __init__(self, name: str, resource: str, pods: Callable[[], Holders | None]) -> None:
        self._name = name
        self._resource = resource
        self._pods = pods

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Else a registry would ask the kubelet at once, to see what we collect."""
        yield self._family()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = self._family()
        for device, who in (self._pods() or {}).items():
            for one in who:
                family.add_metric([self._resource, device, one.namespace, one.name, one.container], 1)
        yield family

    def _family(self) -> GaugeMetricFamily:
        labels = ["resource", "device", "namespace", "pod", "container"]
        return GaugeMetricFamily(
            self._name, "1 for each device that a container has, by the kubelet's word.", labels=labels
        )
