# SPDX-License-Identifier: Apache-2.0
"""What a container gets: which devices, as shares or whole, by path or by CDI name."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from conftest import RESOURCE, Host, Running
from deviceplugin_v1beta1 import api_pb2
from fake_kubelet import FakeKubelet, until
from hypothesis import given
from hypothesis import strategies as st

from accelerator_device_plugin import cdi
from accelerator_device_plugin.cdi import SpecFile
from accelerator_device_plugin.discovery import Device
from accelerator_device_plugin.preferred import PACKED, SPREAD, prefer
from accelerator_device_plugin.service import Grant
from accelerator_device_plugin.shares import device_of, shares

Start = Callable[..., Running]
NUMA = {"0": 0, "1": 0, "2": 0, "3": 1, "4": 1, "5": None}


def pick(available: str, size: int, must: str = "", policy: str = PACKED) -> str:
    return " ".join(prefer(available.split(), must.split(), size, NUMA.get, str, policy))


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (pick("0 1 2 3 4", 2), "3 4"),  # the node with the fewest that has enough
        (pick("0 1 2 3 4", 2, policy=SPREAD), "0 1"),  # the one with the most
        (pick("0 1 2 3 4", 3), "0 1 2"),
        (pick("0 1 2 3 4", 4), "0 1 2 3"),  # no node has enough: as much as possible from one
        (pick("0 1 2 3 4", 2, must="3"), "3 4"),
        (pick("0 1 2 3 4", 2, must="0"), "0 1"),  # near what must be had, though 3 and 4 would fit
        (pick("0 1 5", 3), "0 1 5"),
        (pick("0 1", 5), "0 1"),
        (pick("", 1), ""),
        (pick("0 0 1", 2), "0 1"),
        (pick("0 1", -1), ""),
    ],
)
def test_devices_of_one_numa_node_are_preferred(got: str, expected: str) -> None:
    assert got == expected


def test_shares_are_packed_or_spread_over_devices() -> None:
    free = ["a::0", "a::1", "a::2", "b::0", "b::1", "c::0"]

    def choose(size: int, policy: str) -> list[str]:
        return prefer(free, [], size, lambda key: None, lambda key: device_of(key, 3), policy)

    assert choose(3, PACKED) == ["c::0", "b::0", "b::1"]
    assert choose(3, SPREAD) == ["a::0", "a::1", "b::0"]


@given(
    st.lists(st.sampled_from("012345x")),
    st.lists(st.sampled_from("012345x"), max_size=3),
    st.integers(-2, 9),
    st.sampled_from([PACKED, SPREAD]),
)
def test_a_preference_is_always_one_that_the_kubelet_accepts(
    available: list[str], must: list[str], size: int, policy: str
) -> None:
    chosen = prefer(available, must, size, NUMA.get, str, policy)
    assert len(chosen) == len(set(chosen))
    assert set(must) <= set(chosen) <= set(available) | set(must)
    assert len(chosen) == max(len(set(must)), min(size, len(set(available) | set(must))))


def test_share_ids() -> None:
    assert shares("3", 1) == ["3"]
    assert shares("3", 2) == ["3::0", "3::1"]
    assert [device_of(key, 2) for key in ("3::1", "a::b::0", "3", "::1")] == ["3", "a::b", "3", "::1"]
    assert device_of("3::1", 1) == "3::1", "an ID may look like a share"


@given(st.text(min_size=1), st.integers(1, 5))
def test_every_share_leads_back(device: str, replicas: int) -> None:
    assert {device_of(share, replicas) for share in shares(device, replicas)} == {device}


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), unique=True))
def test_any_ids_give_a_valid_spec(ids: list[str]) -> None:
    page = json.loads(cdi.spec(RESOURCE, [Device(key, f"/dev/toy-{key}") for key in ids], "rw"))
    names = [device["name"] for device in page["devices"]]
    assert len(set(names)) == len(ids)
    assert all(cdi._NAME.fullmatch(name) for name in names)
    assert (page["cdiVersion"], page["kind"]) == ("0.6.0", RESOURCE)


def test_a_spec_that_cannot_be_written_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = SpecFile(tmp_path, RESOURCE, "rw")
    file.write([Device("0", "/dev/toy-0")])
    before = file.path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        for _ in range(3):
            file.write([Device("1", "/dev/toy-1")])
    assert caplog.text.count("No space left on device") == 1
    assert file.path.read_bytes() == before
    file.write([Device("1", "/dev/toy-1")])
    assert b"/dev/toy-1" in file.path.read_bytes()
    file.path.unlink()
    file.write([Device("1", "/dev/toy-1")])
    assert file.path.exists(), "a reboot empties the folder"


def test_the_kubelet_learns_numa_nodes_and_is_told_which_to_take(
    host: Host, kubelet: FakeKubelet, start: Start
) -> None:
    for key, node in ((0, 0), (1, 1), (2, 1), (3, -1)):
        host.add(key)
        (host.sysfs / f"dev/char/10:{200 + key}/numa_node").write_text(f"{node}\n")
    start(grant=Grant("rw", "toy", policy=SPREAD))
    until(lambda: len(kubelet.devices()) == 4, "four devices")
    plugin = kubelet.dial(kubelet.registrations[0].endpoint)
    assert kubelet.registrations[0].options.get_preferred_allocation_available
    assert not kubelet.registrations[0].options.pre_start_required
    first = next(plugin.ListAndWatch(api_pb2.Empty()))
    assert {one.ID: [node.ID for node in one.topology.nodes] for one in first.devices} == {
        "0": [0], "1": [1], "2": [1], "3": [],
    }  # fmt: skip
    request = api_pb2.ContainerPreferredAllocationRequest(
        available_deviceIDs=["3", "2", "1", "0"], allocation_size=2
    )
    answer = plugin.GetPreferredAllocation(
        api_pb2.PreferredAllocationRequest(container_requests=[request, request]), timeout=60
    )
    assert [list(one.deviceIDs) for one in answer.container_responses] == [["1", "2"], ["1", "2"]]


def test_shared_devices_are_told_as_shared(host: Host, start: Start) -> None:
    host.add(0)
    page = json.loads(start(grant=Grant("rw", "toy", replicas=3)).app._pages()["/devices"]()[2])
    assert (page["replicas"], [one["id"] for one in page["devices"]]) == (3, ["0"])


def test_shared_devices_by_cdi_name(host: Host, kubelet: FakeKubelet, start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "cdi"
    folder.mkdir()
    for key in (0, 1):
        host.add(key)
    start(grant=Grant("rw", "toy", replicas=2, cdi_kind=RESOURCE), cdi_dir=folder)
    until(lambda: list(kubelet.devices()) == ["0::0", "0::1", "1::0", "1::1"], "each device twice")
    (one,) = kubelet.allocate(["0::0", "0::1", "1::1"]).container_responses
    assert [device.name for device in one.cdi_devices] == ["example.com/toy=0", "example.com/toy=1"]
    assert list(one.devices) == []
    assert dict(one.envs) == {"toy_0": "/dev/toy-0", "toy_1": "/dev/toy-1"}
    page = json.loads((folder / "example.com_toy.json").read_text())
    assert [device["containerEdits"] for device in page["devices"]] == [
        {"deviceNodes": [{"path": f"/dev/toy-{key}", "permissions": "rw"}]} for key in (0, 1)
    ]
    for wrong in ("0", "0::2", "2::0"):
        with pytest.raises(grpc.RpcError, match=f"device '{wrong}' is unknown"):
            kubelet.allocate([wrong])


@given(data=st.data())
def test_no_message_breaks_the_plugin(data: st.DataObject) -> None:
    """Whatever a kubelet could send is answered, and within the rules."""
    from accelerator_device_plugin.handover import Handover
    from accelerator_device_plugin.health import Evidence, Policy
    from accelerator_device_plugin.inventory import Inventory
    from accelerator_device_plugin.metrics import Metrics
    from accelerator_device_plugin.service import DevicePlugin

    replicas = data.draw(st.integers(1, 3))
    inventory = Inventory(lambda: 0.0, lambda: 0.0, Policy())
    good = Evidence(True, True, "toy", "toy")
    found = [Device(str(key), f"/dev/toy-{key}") for key in range(3)]
    inventory.update(found, lambda devices: dict.fromkeys(devices, good))
    grant = Grant("rw", "toy", replicas=replicas)
    plugin = DevicePlugin(
        inventory, grant, Metrics(RESOURCE, inventory), Handover(lambda devices: {}, Policy())
    )
    ids = st.lists(st.sampled_from(["0", "1::0", "2::1", "2::9", "", "::"]) | st.text(max_size=4), max_size=4)

    class Aborted(Exception):
        pass

    class Context:
        def abort(self, code: grpc.StatusCode, details: str) -> None:
            assert code is grpc.StatusCode.FAILED_PRECONDITION
            assert "see /devices of the device plugin" in details
            raise Aborted

    wanted = data.draw(ids)
    request = api_pb2.AllocateRequest(
        container_requests=[api_pb2.ContainerAllocateRequest(devices_ids=wanted)]
    )
    known = {share for device in found for share in shares(device.id, replicas)}
    try:
        answer = plugin.Allocate(request, Context())
    except Aborted:
        assert not set(wanted) <= known
    else:
        assert set(wanted) <= known
        assert len(answer.container_responses[0].devices) == len({device_of(key, replicas) for key in wanted})
    preferred = api_pb2.PreferredAllocationRequest(
        container_requests=[
            api_pb2.ContainerPreferredAllocationRequest(
                available_deviceIDs=data.draw(ids),
                must_include_deviceIDs=data.draw(ids),
                allocation_size=data.draw(st.integers(-(2**31), 2**31 - 1)),
            )
        ]
    )
    assert len(plugin.GetPreferredAllocation(preferred, Context()).container_responses) == 1
