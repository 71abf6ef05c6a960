# SPDX-License-Identifier: Apache-2.0
"""What is derived from the definition's names."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names as names
from definitions import facts, node, widget

OURS = "feature.node.kubernetes.io/widget.present"


@pytest.mark.parametrize(
    ("kernel", "tag"),
    [
        ("6.1.0-9-amd64", "0.1.0-6.1.0-9-amd64"),
        ("5.14.0-427.el9_4.x86_64", "0.1.0-5.14.0-427.el9_4.x86_64"),
        ("6.12.117+deb12-amd64", "0.1.0-6.12.117_deb12-amd64"),
    ],
)
def test_the_driver_has_one_tag_a_kernel(kernel: str, tag: str) -> None:
    definition = widget()
    assert names.for_kernel(names.driver_tag(definition), kernel) == tag
    assert names.for_kernel(names.driver_image(definition), kernel) == f"registry.example/team/widget-driver:{tag}"


def test_a_given_driver_image_is_used_as_it_is() -> None:
    assert names.driver_image(widget(images={"driver": "quay.io/acme/widget:7"})) == "quay.io/acme/widget:7"


@pytest.mark.parametrize(
    ("over", "selected"),
    [
        ({}, ["a", "b"]),
        ({"nodes": {"pool": "x"}}, ["b"]),
        ({"hardware": {"pci": None, "node_label": {"mine": "yes"}}}, ["c"]),
    ],
)
def test_the_driver_goes_to_candidates_with_the_hardware(over: dict[str, Any], selected: list[str]) -> None:
    nodes = [
        node("c", mine="yes", pool="x"),
        node("b", **{OURS: "true", "pool": "x"}),
        node("a", **{OURS: "true"}),
        node("d", **{OURS: "false"}),
    ]
    assert names.matching(widget(**over), nodes) == selected


@pytest.mark.parametrize(
    ("seen", "wanted", "place"),
    [
        ({}, None, "openshift-nfd"),
        ({}, "mine", "mine"),
        ({"nfd": {"namespace": "theirs", "api": None, "instances": []}}, "mine", "theirs"),
        ({"olm": {"subscriptions": [{"package": "nfd", "namespace": "bought"}]}}, None, "bought"),
        ({"olm": {"subscriptions": [{"package": "other", "namespace": "bought"}]}}, None, "openshift-nfd"),
    ],
)
def test_nfd_is_looked_for_where_it_is_before_where_it_should_be(
    seen: dict[str, Any], wanted: str | None, place: str
) -> None:
    assert names.nfd_namespace(widget(nfd={"namespace": wanted}), facts(**seen)) == place


def test_variables_of_containers_are_valid_names() -> None:
    assert names.env_prefix(widget(name="smart-nic")) == "smart_nic"


@pytest.mark.parametrize(
    ("quantity", "number"),
    [("5", 5), (0, 0), ("1k", 1000), ("2M", 2_000_000), ("1e3", 1000), ("2Ki", 2048), ("1500m", 1), ("1.5k", 1500)],
)
def test_a_count_as_kubernetes_writes_it(quantity: str | int, number: int) -> None:
    assert names.count(quantity) == number


@pytest.mark.parametrize("quantity", ["", "two", None, "1_0", "1 k", "1e", "1kk", "٣"])
def test_what_is_no_count(quantity: str | None) -> None:
    with pytest.raises(ValueError, match="no quantity"):
        names.count(quantity)


@pytest.mark.parametrize(
    ("reference", "mirrors", "reached"),
    [
        ("quay.io/a/b:1", {}, "quay.io/a/b:1"),
        ("quay.io/a/b:1", {"quay.io": "m.example:5000/q"}, "m.example:5000/q/a/b:1"),
        ("quay.io/a/b@sha256:0", {"quay.io/a/b": "m.example/c"}, "m.example/c@sha256:0"),
        ("quay.io/a/b:1", {"quay.io/a": "m.example/x", "quay.io": "m.example/y"}, "m.example/x/b:1"),
        ("quay.io.example/a:1", {"quay.io": "m.example"}, "quay.io.example/a:1"),
        ("quay.io:444/a:1", {"quay.io": "m.example"}, "quay.io:444/a:1"),  # another registry
        ("quay.io/ab:1", {"quay.io/a": "m.example"}, "quay.io/ab:1"),
        ("quay.io/mirror/a:1", {"quay.io": "quay.io/mirror"}, "quay.io/mirror/a:1"),  # it is there already
    ],
)
def test_a_reference_is_taken_from_the_closest_mirror(reference: str, mirrors: dict[str, str], reached: str) -> None:
    assert names.mirrored(reference, mirrors) == reached


def test_a_node_offers_every_device_as_often_as_it_is_shared() -> None:
    assert names.offered(widget()) is None
    assert names.offered(widget(devices={"count": 5})) == 5
    assert names.offered(widget(devices={"count": 5}, device_plugin={"replicas": 4})) == 20


def test_what_a_teardown_leaves_on_nodes_is_known() -> None:
    assert names.left_on_nodes(widget()) == []
    assert names.left_on_nodes(widget(device_plugin={"remember": True, "cdi_dir": "/etc/cdi"})) == [
        "/var/lib/kubelet/device-plugins/acme.example_widget.state.json",
        "/etc/cdi/acme.example_widget.json",
    ]
