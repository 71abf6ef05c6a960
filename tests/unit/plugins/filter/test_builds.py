# SPDX-License-Identifier: Apache-2.0
"""Which images are built, and with what."""

from __future__ import annotations

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.filter import builds
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._definition import load

GIVEN = {
    "name": "widget",
    "resource": "acme.example/widget",
    "hardware": {"cpu_feature": "AVX512F"},
    "driver": {"git": {"url": "https://git.example/w", "ref": "v1"}, "module": "widget", "version": "2.0"},
    "images": {"registry": "r.example/w", "base": "r.example/base:1", "driver_base": "r.example/min:1"},
    "consumer": {"command": ["true"]},
}
KERNELS = [
    {"version": "5.14.0-1+deb", "arch": "amd64", "os_image": "CoreOS 418.94.1 (Plow)", "nodes": ["a"]},
    {"version": "6.1.0", "arch": "amd64", "os_image": "Debian", "nodes": ["b", "c"]},
]
STREAM = {"spec": {"tags": [{"name": "418.94.1", "from": {"name": "quay.example/dtk@sha256:1"}}]}}


def definition(**images):
    return load({**GIVEN, "images": {**GIVEN["images"], "consumer": "r.example/c:1", **images}}, {}, "/")


@pytest.mark.parametrize(
    ("builder", "stream", "builders"),
    [
        (None, None, [None, None]),
        (None, STREAM, ["quay.example/dtk@sha256:1", None]),
        ("r.example/dtk:${KERNEL_FULL_VERSION}", STREAM, ["r.example/dtk:5.14.0-1_deb", "r.example/dtk:6.1.0"]),
        ("r.example/dtk:all", None, ["r.example/dtk:all", "r.example/dtk:all"]),
    ],
    ids=["none known", "OpenShift's by the OS image", "given, by kernel", "given, for all"],
)
def test_builder_of_each_kernel(builder, stream, builders):
    given = definition(**({"builder": builder} if builder else {}))
    plan = builds.driver_builds(given, {"kernels": KERNELS}, "/context", "/source", stream)
    assert [build["builder"] for build in plan] == builders


def test_driver_image_is_one_a_kernel_and_its_tag_is_legal():
    image = builds.driver_builds(definition(builder="r.example/dtk:1"), {"kernels": KERNELS}, "/context", "/source")[0][
        "image"
    ]
    assert (image["name"], image["tag"]) == ("r.example/w/widget-driver", "2.0-5.14.0-1_deb")
    assert image["build_args"]["KERNEL_VERSION"] == "5.14.0-1+deb"
    assert image["bases"] == ["r.example/dtk:1", "r.example/min:1"]


CONTEXTS = {"device_plugin": {"context": "/p"}, "consumer": {"context": "/c"}}


@pytest.mark.parametrize(
    ("images", "built"),
    [({}, ["device_plugin"]), ({"device_plugin": "r.example/p:1"}, [])],
    ids=["a given consumer is not built", "all given"],
)
def test_given_images_are_not_built(images, built):
    assert [item["component"] for item in builds.image_builds(definition(**images), CONTEXTS)] == built


def test_no_consumer_is_built_when_none_is_wanted():
    given = {**definition(), "consumer": None}
    given["images"] = {**given["images"], "consumer": None}
    assert [item["component"] for item in builds.image_builds(given, CONTEXTS)] == ["device_plugin"]


def test_references_are_what_was_built_and_what_was_given():
    results = [{"__common_image": {"component": "device_plugin"}, "image": "r.example/w/widget-device-plugin:1"}]
    assert builds.built_images(definition(), results) == {
        "device_plugin": "r.example/w/widget-device-plugin:1",
        "consumer": "r.example/c:1",
    }


def test_proofs_are_of_the_images_that_are_there_and_of_the_nodes_that_load_them():
    facts = {"kernels": KERNELS}
    given = definition(driver="r.example/drv:${KERNEL_FULL_VERSION}")
    proofs = builds.driver_proofs(given, facts, given["images"]["driver"])
    assert [(proof["image"], proof["kernel"]) for proof in proofs] == [
        ("r.example/drv:5.14.0-1_deb", "5.14.0-1+deb"),
        ("r.example/drv:6.1.0", "6.1.0"),
    ]
    assert proofs[0] | {"image": "", "kernel": ""} == {
        "image": "",
        "kernel": "",
        "architecture": "amd64",
        "modules": ["widget"],
        "firmware": [],
    }
    assert builds.driver_proofs(given, facts, given["images"]["driver"], ["r.example/drv:6.1.0"]) == proofs[:1]
    assert builds.driver_proofs(given, facts, given["images"]["driver"], [], ["c", "other"]) == proofs[1:]
    assert builds.driver_proofs(given, facts, given["images"]["driver"], [], []) == []
