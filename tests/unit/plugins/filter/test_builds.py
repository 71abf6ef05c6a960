# SPDX-License-Identifier: Apache-2.0
"""Which images are built, and with what."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
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
STREAM = {
    "spec": {
        "tags": [
            {"name": "latest", "from": {"name": "quay.example/dtk@sha256:0"}},
            {"name": "418.94", "from": {"name": "quay.example/dtk@sha256:2"}},
            {"name": "418.94.1", "from": {"name": "quay.example/dtk@sha256:1"}},
        ]
    }
}
RHEL = "5.14.0-427.13.1.el9_4.x86_64"
RELEASES = [
    {"image": "r.example/dtk:4.17", "kernel_version": "5.14.0-400.el9.x86_64", "rt_kernel_version": ""},
    {"image": "r.example/dtk:4.18", "kernel_version": RHEL, "rt_kernel_version": RHEL},
    {
        "image": "r.example/dtk:old",
        "kernel_version": "4.18.0-305.el8.x86_64",
        "rt_kernel_version": "4.18.0-305.rt7.72.el8.x86_64",
    },
    {"image": "r.example/dtk:arm", "kernel_version": "5.14.0-427.el9.aarch64", "rt_kernel_version": ""},
]


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


@pytest.mark.parametrize(
    ("version", "builder"),
    [
        (RHEL, "r.example/dtk:4.18"),
        (f"{RHEL}+rt", "r.example/dtk:4.18"),
        ("5.14.0-400.el9.x86_64+rt", None),  # a toolkit without a real-time kernel
        ("4.18.0-305.rt7.72.el8.x86_64", "r.example/dtk:old"),  # RHEL 8 gives it a version of its own
        ("5.14.0-427.el9.aarch64", "r.example/dtk:arm"),
        ("5.14.0-427.el9.aarch64+64k", "r.example/dtk:arm"),
        ("5.14.0-428.el9.x86_64", None),
    ],
)
def test_a_release_s_toolkit_is_found_by_its_release_file(version, builder):
    facts = {"kernels": [{"version": version, "arch": "amd64", "os_image": "RHEL", "nodes": ["a"]}]}
    [build] = builds.driver_builds(definition(), facts, "/context", "/source", None, RELEASES)
    assert build["builder"] == builder


def test_the_tag_of_the_node_s_own_release_is_preferred_and_taken_from_the_mirror():
    release = {"image": "r.example/dtk:other", "kernel_version": "5.14.0-1+deb", "rt_kernel_version": ""}
    given = definition(mirrors={"quay.example": "mirror.example:5000/quay"})
    plan = builds.driver_builds(given, {"kernels": KERNELS[:1]}, "/context", "/source", STREAM, [release])
    assert plan[0]["builder"] == "mirror.example:5000/quay/dtk@sha256:1"
    assert plan[0]["image"]["bases"][0] == plan[0]["builder"]


def test_what_was_looked_at_for_a_builder_is_told():
    given = definition()
    given["driver"]["build"]["kernels"] = [RHEL, "6.12.9-amd64"]
    plan = builds.driver_builds(given, {"kernels": KERNELS}, "/context", "/source", STREAM, RELEASES)
    assert builds.builders_missing(plan, given, STREAM, RELEASES).splitlines() == [
        "no builder image for kernel 6.1.0 (amd64): OS image Debian, nodes b, c",
        "no builder image for kernel 6.12.9-amd64 (amd64): named in driver.build.kernels",
        "looked at images.builder of the definition: not given",
        "looked at tags of ImageStream openshift/driver-toolkit: latest, 418.94, 418.94.1",
        f"looked at images.toolkits: r.example/dtk:4.17 is for 5.14.0-400.el9.x86_64; r.example/dtk:4.18 is for {RHEL} "
        f"and {RHEL}; r.example/dtk:old is for 4.18.0-305.el8.x86_64 and 4.18.0-305.rt7.72.el8.x86_64; "
        "r.example/dtk:arm is for 5.14.0-427.el9.aarch64",
        "next: set images.builder to an image with that kernel's headers (${KERNEL_FULL_VERSION} in it stands for the "
        "kernel), or add the Driver Toolkit of its release to images.toolkits",
    ]
    assert builds.builders_missing(plan[:1], given, STREAM, RELEASES) == ""


@pytest.mark.parametrize(
    ("named", "nodes", "archs"),
    [
        ([], ["amd64"], ["amd64"]),
        (["6.1.0"], ["amd64"], ["amd64"]),  # the nodes run it
        ([RHEL, RHEL], ["amd64"], ["amd64", "amd64"]),
        (["5.14.0-1.el9.aarch64+64k"], ["amd64"], ["amd64", "arm64"]),
        (["6.12.9-cloud-arm64"], ["amd64"], ["amd64", "arm64"]),
        (["6.8.0-generic"], ["arm64"], ["arm64", "arm64"]),  # as the nodes
    ],
)
def test_kernels_that_are_named_are_built_too(named, nodes, archs):
    given = definition(builder="r.example/dtk:1")
    given["driver"]["build"]["kernels"] = named
    facts = {"kernels": [{"version": "6.1.0", "arch": arch, "os_image": "", "nodes": ["a"]} for arch in nodes]}
    plan = builds.driver_builds(given, facts, "/context", "/source")
    assert [build["arch"] for build in plan] == archs
    assert [item["image"] for item in builds.driver_references(given, facts)] == [
        f"{build['image']['name']}:{build['image']['tag']}" for build in plan
    ]


@pytest.mark.parametrize(
    ("named", "archs", "says"),
    [
        (
            ["6.8.0-generic"],
            ["amd64", "arm64"],
            "does not say of which architecture it is, and the nodes have amd64, arm64",
        ),
        ([], ["amd64", "arm64"], "kernel 6.1.0 runs on amd64 and on arm64 nodes"),
    ],
)
def test_a_kernel_whose_architecture_is_not_clear_is_refused(named, archs, says):
    given = definition(builder="r.example/dtk:1")
    given["driver"]["build"]["kernels"] = named
    versions = ["6.1.0", "6.1.0" if not named else "6.1.1"]
    facts = {
        "kernels": [
            {"version": version, "arch": arch, "os_image": "", "nodes": ["a"]}
            for version, arch in zip(versions, archs, strict=True)
        ]
    }
    with pytest.raises(AnsibleFilterError, match=says):
        builds.driver_builds(given, facts, "/context", "/source")


def test_each_architecture_is_built_by_its_host_and_answers_come_in_order():
    given = definition(builder="r.example/dtk:1")
    given["driver"]["build"] |= {"hosts": {"arm64": "pi"}, "kernels": ["6.2.0-arm64", "6.3.0-amd64"]}
    plan = builds.driver_builds(given, {"kernels": KERNELS[1:]}, "/here", "/mine", remote="/there")
    images = [build["image"] for build in plan]
    hosts = builds.by_host(images)
    assert [(host["host"], [image["title"] for image in host["images"]]) for host in hosts] == [
        (None, ["kernel 6.1.0", "kernel 6.3.0-amd64"]),
        ("pi", ["kernel 6.2.0-arm64"]),
    ]
    assert (hosts[0]["images"][0]["context"], hosts[0]["images"][0]["extra_context"]) == ("/here", {"source": "/mine"})
    assert (hosts[1]["images"][0]["context"], hosts[1]["images"][0]["extra_context"]) == (
        "/there/context",
        {"source": "/there/source"},
    )
    assert "host" not in hosts[0]["images"][0]
    results = [
        {"__common_host": host, "results": [{"image": image["tag"]} for image in host["images"]]} for host in hosts
    ]
    assert [result["image"] for result in builds.in_order(images, results)] == [image["tag"] for image in images]


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
    named = given["driver"] | {"build": given["driver"]["build"] | {"kernels": ["6.12.0-1-amd64"]}}
    ahead = builds.driver_proofs({**given, "driver": named}, facts, given["images"]["driver"])
    assert [proof["kernel"] for proof in ahead] == ["5.14.0-1+deb", "6.1.0", "6.12.0-1-amd64"]
    assert builds.driver_proofs({**given, "driver": named}, facts, given["images"]["driver"], [], ["a", "c"]) == proofs
