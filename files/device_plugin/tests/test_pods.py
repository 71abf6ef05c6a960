# SPDX-License-Identifier: Apache-2.0
"""Which pod has which device, from a kubelet that is played."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from conftest import RESOURCE, Host, Running
from hypothesis import given
from hypothesis import strategies as st
from podresources_v1 import api_pb2, api_pb2_grpc

from accelerator_device_plugin.pods import Holder, Pods, holders
from accelerator_device_plugin.service import Grant
from accelerator_device_plugin.shares import shares


def pod(name: str, *ids: str, resource: str = RESOURCE) -> api_pb2.PodResources:
    devices = [api_pb2.ContainerDevices(resource_name=resource, device_ids=[one]) for one in ids]
    container = api_pb2.ContainerResources(name="main", devices=devices)
    return api_pb2.PodResources(name=name, namespace="team", containers=[container])


class FakeLister(api_pb2_grpc.PodResourcesListerServicer):
    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.pods: list[api_pb2.PodResources] = []
        self.asked = 0
        self._server = grpc.server(ThreadPoolExecutor(max_workers=2))
        api_pb2_grpc.add_PodResourcesListerServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"unix:{socket}")
        self._server.start()

    def List(
        self, request: api_pb2.ListPodResourcesRequest, context: grpc.ServicerContext
    ) -> api_pb2.ListPodResourcesResponse:
        self.asked += 1
        return api_pb2.ListPodResourcesResponse(pod_resources=self.pods)

    def stop(self) -> None:
        self._server.stop(grace=None).wait()


@pytest.fixture
def lister(tmp_path: Path) -> Iterator[FakeLister]:
    lister = FakeLister(tmp_path / "lister.sock")
    yield lister
    lister.stop()


def test_pods_are_told_at_devices_and_in_the_metrics(
    host: Host, start: Callable[..., Running], lister: FakeLister
) -> None:
    for key in (0, 1, 2):
        host.add(key)
    lister.pods = [
        pod("one", "0::1", "1::0"),
        pod("two", "0::0"),
        pod("other", "2", resource="example.com/else"),
    ]
    app = start(grant=Grant("rw", "toy", replicas=2), pod_resources=lister.socket).app
    page = json.loads(app._pages()["/devices"]()[2])
    one, two = ({"namespace": "team", "name": name, "container": "main"} for name in ("one", "two"))
    assert {device["id"]: device["pods"] for device in page["devices"]} == {
        "0": [one, two],
        "1": [one],
        "2": [],
    }
    text = app.metrics.text().decode()
    series = [
        line for line in text.splitlines() if line.startswith("accelerator_device_plugin_device_pod_info{")
    ]
    assert len(series) == 3
    labels = 'container="main",device="1",namespace="team",pod="one",resource="example.com/toy"'
    assert f"accelerator_device_plugin_device_pod_info{{{labels}}} 1.0" in series


def test_a_kubelet_that_does_not_answer_is_said_once_and_costs_nothing_else(
    host: Host, start: Callable[..., Running], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    host.add(0)
    app = start(pod_resources=tmp_path / "nobody.sock").app
    (device,) = json.loads(app._pages()["/devices"]()[2])["devices"]
    assert device["health"] == "Healthy"
    assert "pods" not in device, "not known is not nobody"
    assert b"device_pod_info{" not in app.metrics.text()
    assert caplog.text.count("who has the devices is not known") == 1


def test_many_questions_are_one_to_the_kubelet(lister: FakeLister) -> None:
    now = [0.0]
    pods = Pods(lister.socket, RESOURCE, 1, lambda: now[0])
    lister.pods = [pod("one", "0")]
    assert pods() == pods() == {"0": [Holder("team", "one", "main")]}
    assert lister.asked == 1
    lister.pods, now[0] = [], 1.5
    assert pods() == {}


IDS = st.lists(st.text(max_size=3), max_size=4)


@given(
    st.lists(st.tuples(st.text(max_size=3), IDS, st.sampled_from([RESOURCE, "other"])), max_size=4),
    st.integers(1, 3),
)
def test_whatever_the_kubelet_says_only_our_devices_are_told(
    said: list[tuple[str, list[str], str]], replicas: int
) -> None:
    answer = api_pb2.ListPodResourcesResponse(
        pod_resources=[pod(name, *ids, resource=resource) for name, ids, resource in said]
    )
    found = holders(answer, RESOURCE, replicas)
    ours = {name for name, ids, resource in said if ids and resource == RESOURCE}
    assert {one.name for who in found.values() for one in who} == ours


@given(st.text(min_size=1, max_size=4), st.integers(1, 4))
def test_every_share_is_told_at_its_device(device: str, replicas: int) -> None:
    answer = api_pb2.ListPodResourcesResponse(pod_resources=[pod("one", *shares(device, replicas))])
    assert holders(answer, RESOURCE, replicas) == {device: [Holder("team", "one", "main")]}
