# SPDX-License-Identifier: Apache-2.0
"""Builds in the cluster: what KMM and BuildConfig are given. That KMM's API accepts its part: tests/api."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.filter import builds
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _manifests
from definitions import IMAGES, ROOT, Obj, facts, widget
from openshift_schema import SCHEMAS, objections

GIT = {"url": "https://git.example/team/widget.git", "ref": "v1.2", "subdir": "driver"}
FILES = {path.name: path.read_text() for path in (ROOT / "files" / "driver_container").glob("*.sh")}
KERNELS = [
    {"version": "5.14.0-427.el9.x86_64", "arch": "amd64", "os_image": "CoreOS 418.94.1", "nodes": ["a"]},
    {"version": "5.14.0-427.el9.aarch64+64k", "arch": "arm64", "os_image": "CoreOS 418.94.1", "nodes": ["b"]},
]
INTERNAL = "image-registry.openshift-image-registry.svc:5000/widget"
SIGNING = {"secret": "signing-keys"}


def definition(strategy: str, git: bool = True, **over: Any) -> Obj:
    source = {"source": None, "git": GIT} if git else {}
    driver = {**source, "build": {"strategy": strategy}, **over.pop("driver", {})}
    images = {"builder": "r.example/dtk:${KERNEL_FULL_VERSION}", **over.pop("images", {})}
    return widget(driver=driver, images=images, **over)


def rendered(given: Obj, stage: str = "driver_build", platform: str = "openshift") -> list[Obj]:
    seen = facts(kernels=KERNELS, platform=platform)
    plan = builds.driver_builds(given, seen, "/context", "/source")
    return _manifests.render(stage, given, seen, {**IMAGES, "driver_files": FILES, "driver_builds": plan})


def module(given: Obj) -> Obj:
    [found] = [item for item in rendered(given, "kmm") if item["kind"] == "Module"]
    return found["spec"]["moduleLoader"]["container"]["kernelMappings"][0]


def scripts(text: str) -> dict[str, str]:
    """The scripts in a recipe, by their names."""
    found = re.findall(r"echo (\S*) \| base64 -d > /build/(\S+)", text)
    return {name: base64.b64decode(data).decode() for data, name in found}


@pytest.mark.parametrize("strategy", ["podman", "prebuilt"])
def test_nothing_is_written_where_the_cluster_does_not_build(strategy: str) -> None:
    given = widget(driver={"build": {"strategy": strategy}}, images=IMAGES if strategy == "prebuilt" else {})
    assert rendered(given) == []
    assert "build" not in module(given)


def test_kmm_gets_the_recipe_with_all_that_it_needs_in_it() -> None:
    [config_map] = rendered(definition("kmm", driver={"firmware": ["a.bin", "b.bin"]}))
    text = config_map["data"]["dockerfile"]
    lines = text.splitlines()
    assert "FROM r.example/dtk:${KERNEL_FULL_VERSION} AS builder" in lines
    assert lines.index("ARG KERNEL_FULL_VERSION") < lines.index("FROM r.example/dtk:${KERNEL_FULL_VERSION} AS builder")
    assert 'git clone --quiet "https://git.example/team/widget.git" /build/source' in text
    assert "RUN /bin/sh /build/build-module.sh /build/source/driver /build/image" in lines
    assert 'FIRMWARE="a.bin b.bin"' in text
    assert "COPY source" not in text
    assert scripts(text) == {name: FILES[name] for name in ("build-module.sh", "install-tools.sh")}


def test_kmm_takes_the_node_s_own_toolkit_on_openshift() -> None:
    [config_map] = rendered(definition("kmm", images={"builder": None}))
    lines = config_map["data"]["dockerfile"].splitlines()
    assert lines.index("ARG DTK_AUTO") < lines.index("FROM ${DTK_AUTO} AS builder")


def test_kmm_s_module_names_the_recipe_and_who_signs() -> None:
    proxy = {"https": "http://proxy:3128", "no_proxy": ".svc"}
    mapping = module(definition("kmm", driver={"signing": SIGNING}, images={"proxy": proxy}))
    assert mapping["build"] == {
        "dockerfileConfigMap": {"name": "widget-driver-build"},
        "buildArgs": [{"name": "https_proxy", "value": "http://proxy:3128"}, {"name": "no_proxy", "value": ".svc"}],
    }
    assert mapping["sign"] == {
        "keySecret": {"name": "signing-keys"},
        "certSecret": {"name": "signing-keys"},
        "filesToSign": ["/opt/lib/modules/${KERNEL_FULL_VERSION}/extra/*.ko"],
    }


@pytest.mark.parametrize(("builder", "insecure"), [("registry.example/dtk:1", True), ("quay.io/a/dtk:1", False)])
def test_kmm_pulls_bases_without_tls_only_from_the_site_s_registry(builder: str, insecure: bool) -> None:
    build = module(definition("kmm", images={"builder": builder, "tls_verify": False}))["build"]
    assert ("baseImageRegistryTLS" in build) is insecure


BUILD_CONFIGS = {
    "from git": definition("buildconfig"),
    "from a folder": definition("buildconfig", git=False),
    "signed": definition("buildconfig", driver={"signing": SIGNING}),
    "through a proxy": definition("buildconfig", images={"proxy": {"http": "http://p:1", "no_proxy": "a,b"}}),
    "with secrets": definition("buildconfig", images={"pull_secret": "pull", "push_secret": "push"}),
    "to an image stream": definition("buildconfig", images={"registry": INTERNAL}),
}


@pytest.mark.parametrize("case", BUILD_CONFIGS)
def test_openshift_knows_every_field(case: str) -> None:
    objects = rendered(BUILD_CONFIGS[case])
    assert [item["kind"] for item in objects].count("BuildConfig") == len(KERNELS)
    assert [text for item in objects for text in objections(item, SCHEMAS[item["kind"]])] == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda spec: spec.update(invented=1), ".spec.invented: unknown"),
        (lambda spec: spec["output"].pop("to"), ".spec.output.to: missing"),
        (lambda spec: spec["source"].update(type="Dockerfile"), ".spec.source.type: expected one of"),
        (lambda spec: spec.update(completionDeadlineSeconds="600"), ".spec.completionDeadlineSeconds: expected int"),
    ],
)
def test_the_check_can_fail(change: Any, says: str) -> None:
    [build_config, *_rest] = rendered(BUILD_CONFIGS["from git"])
    change(build_config["spec"])
    [said] = objections(build_config, SCHEMAS["BuildConfig"])
    assert said.startswith(says)


def test_each_kernel_has_a_build_config_on_its_architecture_with_the_same_reference_as_other_strategies() -> None:
    given = definition("buildconfig")
    found = rendered(given)
    references = builds.driver_references(given, {"kernels": KERNELS})
    assert [item["spec"]["output"]["to"]["name"] for item in found] == [item["image"] for item in references]
    assert [item["spec"]["nodeSelector"] for item in found] == [
        {"kubernetes.io/arch": "amd64"},
        {"kubernetes.io/arch": "arm64"},
    ]
    assert "FROM r.example/dtk:5.14.0-427.el9.aarch64_64k AS builder" in found[1]["spec"]["source"]["dockerfile"]
    assert found[0]["spec"]["source"]["contextDir"] == "driver"


def test_what_says_something_else_has_another_name_and_so_builds() -> None:
    """The trigger ConfigChange starts a build when a BuildConfig is new, not when it changes."""
    first = [item["metadata"]["name"] for item in rendered(definition("buildconfig"))]
    again = [item["metadata"]["name"] for item in rendered(definition("buildconfig"))]
    newer = [item["metadata"]["name"] for item in rendered(definition("buildconfig", driver={"version": "2"}))]
    assert first == again
    assert len({*first, *newer}) == 4


def test_a_key_is_mounted_and_stands_in_no_recipe() -> None:
    [build_config, *_rest] = rendered(BUILD_CONFIGS["signed"])
    [volume] = build_config["spec"]["strategy"]["dockerStrategy"]["volumes"]
    assert volume["source"]["secret"]["secretName"] == "signing-keys"
    text = build_config["spec"]["source"]["dockerfile"]
    assert "SECRETS=/run/secrets/accelerator /bin/sh /build/sign-modules.sh /build/image" in text
    assert scripts(text)["sign-modules.sh"] == FILES["sign-modules.sh"]


def test_the_cluster_s_own_registry_is_written_by_its_image_stream() -> None:
    stream, build_config, *_rest = rendered(BUILD_CONFIGS["to an image stream"])
    assert (stream["kind"], stream["metadata"]["name"]) == ("ImageStream", "widget-driver")
    assert build_config["spec"]["output"]["to"] == {
        "kind": "ImageStreamTag",
        "name": "widget-driver:0.1.0-5.14.0-427.el9.x86_64",
    }
