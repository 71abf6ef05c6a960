# SPDX-License-Identifier: Apache-2.0
"""Whatever a node, a driver, a disk or a kubelet comes up with: no crash, and nothing is well that is not."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from conftest import RESOURCE, Host, Running
from deviceplugin_v1beta1 import api_pb2
from fake_kubelet import PATIENCE, FakeKubelet, until
from hypothesis import example, given, settings
from hypothesis import strategies as st

from accelerator_device_plugin import cdi
from accelerator_device_plugin.discovery import Device, discover
from accelerator_device_plugin.handover import Handover
from accelerator_device_plugin.health import HEALTHY, Evidence, Kind, Policy, Record, advance, judge
from accelerator_device_plugin.inventory import Inventory, State
from accelerator_device_plugin.memory import decode, encode, lasting
from accelerator_device_plugin.metrics import Metrics
from accelerator_device_plugin.service import DevicePlugin, Grant, advertised
from accelerator_device_plugin.web import devices_page

TEXT = st.text(max_size=6) | st.sampled_from(["ok", "failed", "toy", "a\nb", "\x1b[31m", "x" * 300])
GOOD = Evidence(True, True, "toy", "toy", word="ok")
EVIDENCE = st.none() | st.builds(
    Evidence,
    exists=st.sampled_from([True, True, False]),
    character=st.sampled_from([True, True, False]),
    name=st.just("toy"),
    kernel_name=st.just("toy") | st.none() | TEXT,
    serial=st.none() | TEXT,
    numa=st.none() | st.integers(0, 3),
    word=st.none() | st.just("ok") | TEXT,
    word_error=st.none() | TEXT,
    probe_error=st.none() | TEXT,
)
IDS = [str(key) for key in range(3)]
FOUND = [Device(key, f"/dev/toy-{key}") for key in IDS]
METRICS = Metrics(RESOURCE, Inventory(lambda: 0.0, lambda: 0.0, Policy()))


class Aborted(Exception):
    """The RPC was refused, as a kubelet sees it."""


class Context:
    def time_remaining(self) -> float | None:
        return None

    def abort(self, code: grpc.StatusCode, details: str) -> None:
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        raise Aborted(details)


@given(st.lists(EVIDENCE, min_size=1, max_size=6))
@example([Evidence(True, True, "toy", "\x1b[31m")])
def test_what_was_judged_of_any_evidence_is_remembered(story: list[Evidence | None]) -> None:
    """Our own file is never called damaged, and only a look that found nothing wrong ends in Healthy."""
    record: Record | None = None
    for at, seen in enumerate(story):
        finding = judge(seen, Policy())
        record = advance(record, finding, float(at), Policy())
        assert record.state != HEALTHY or finding.kind is Kind.GOOD
        assert finding.kind is not Kind.BAD or record.state == "Unhealthy"
        kept = {"id:0": lasting(record)}
        assert {key: one.state for key, one in decode(encode(kept, at, "b"), at, "b").items()} == {
            "id:0": record.state
        }


@settings(max_examples=50)
@given(st.lists(st.binary(min_size=1, max_size=12), max_size=5))
@example([b"\xff\xfe", b"3"])
def test_no_name_in_dev_costs_the_other_devices(names: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "dev").mkdir()
        for name in [b"0", *names]:
            safe = name.replace(b"/", b"_").replace(b"\0", b"_")
            open(os.path.join(os.fsencode(folder), b"dev/toy-" + safe), "wb").close()
        devices = discover(Path(folder), "/dev/toy-*")
    assert "0" in {device.id for device in devices}
    states = {device.id: State(device, Record(HEALTHY, "Present"), 0.0) for device in devices}
    listed = api_pb2.ListAndWatchResponse(devices=advertised(states, 1))
    assert len(listed.SerializeToString()) > 0
    assert {one["id"] for one in json.loads(devices_page(RESOURCE, None, True, states))["devices"]} == set(
        states
    )
    spec = json.loads(cdi.spec(RESOURCE, devices, "rw"))
    paths = {one["name"]: one["containerEdits"]["deviceNodes"][0]["path"] for one in spec["devices"]}
    assert all(paths[cdi.name(device.id)] == device.path for device in devices)


@given(st.lists(EVIDENCE, min_size=3, max_size=3), st.lists(st.sampled_from([*IDS, "9", ""]), max_size=4))
def test_only_what_is_well_is_given_away(evidence: list[Evidence | None], wanted: list[str]) -> None:
    seen = dict(zip(FOUND, evidence, strict=True))
    inventory = Inventory(lambda: 0.0, lambda: 0.0, Policy())
    inventory.update(FOUND, lambda devices: seen)
    looks: Callable[[list[Device]], dict[Device, Evidence | None]] = lambda devices: {  # noqa: E731
        device: seen[device] for device in devices
    }
    plugin = DevicePlugin(inventory, Grant("rw", "toy", pre_start=True), METRICS, Handover(looks, Policy()))
    states = inventory.snapshot()[1]
    offered = {key for key in states if states[key].health == HEALTHY}
    good = {device.id for device in FOUND if judge(seen[device], Policy()).kind is Kind.GOOD}
    one = api_pb2.ContainerAllocateRequest(devices_ids=wanted)
    try:
        answer = plugin.Allocate(api_pb2.AllocateRequest(container_requests=[one]), Context())
    except Aborted:
        assert not set(wanted) <= offered
    else:
        assert {spec.host_path for spec in answer.container_responses[0].devices} == {
            f"/dev/toy-{key}" for key in wanted
        }
        assert set(wanted) <= offered
    try:
        plugin.PreStartContainer(api_pb2.PreStartContainerRequest(devices_ids=wanted), Context())
    except Aborted:
        assert not set(wanted) <= offered & good
    else:
        assert set(wanted) <= offered & good


def test_no_bytes_on_its_socket_end_the_plugin(
    host: Host, kubelet: FakeKubelet, start: Callable[..., Running]
) -> None:
    host.add(0)
    plugin = start()
    until(lambda: kubelet.devices() == {"0": HEALTHY}, "the device")
    service = "/v1beta1.DevicePlugin"
    with grpc.insecure_channel(f"unix:{host.plugins / kubelet.registrations[-1].endpoint}") as channel:
        calls = {
            name: channel.unary_unary(f"{service}/{name}")
            for name in (
                "GetDevicePluginOptions",
                "Allocate",
                "PreStartContainer",
                "GetPreferredAllocation",
                "Odd",
            )
        }

        @settings(max_examples=60)
        @given(st.sampled_from(list(calls)), st.binary(max_size=40))
        @example("Allocate", b"\x0a\x03\x0a\x01\xff")
        def send(name: str, message: bytes) -> None:
            try:
                calls[name](message, timeout=PATIENCE)
            except grpc.RpcError as error:
                assert error.code() in (  # noqa: PT017
                    grpc.StatusCode.FAILED_PRECONDITION,
                    grpc.StatusCode.INTERNAL,
                    grpc.StatusCode.UNIMPLEMENTED,
                )

        send()
    assert kubelet.allocate(["0"]).container_responses[0].devices[0].host_path == "/dev/toy-0"
    assert plugin.app.kubelet.registered()


@given(st.binary(max_size=60))
def test_whatever_lies_in_the_place_of_the_spec_is_replaced(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = cdi.SpecFile(Path(folder), RESOURCE, "rw")
        file.path.write_bytes(content)
        file.write(FOUND)
        assert [one["name"] for one in json.loads(file.path.read_bytes())["devices"]] == IDS
        assert os.listdir(folder) == [file.path.name]


@pytest.mark.parametrize("odd", [b"DEVNAME=\xff\xfe\nDEVNAME=toy-0\n", b"", b"DEVNAME", b"\0" * 9000])
def test_an_odd_uevent_file_is_another_driver_s_or_none(
    odd: bytes, host: Host, kubelet: FakeKubelet, start: Callable[..., Running]
) -> None:
    host.add(0)
    (host.sysfs / "dev/char/10:200/uevent").write_bytes(odd)
    plugin = start()
    until(lambda: kubelet.devices() == {"0": "Unhealthy"}, "the device")
    assert plugin.app.inventory.snapshot()[1]["0"].record.reason in ("OtherDriver", "NoDriver")
