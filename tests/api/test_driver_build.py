# SPDX-License-Identifier: Apache-2.0
"""The role driver_build where the cluster builds, on a real API server: what it writes, says and takes away."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _definition
from cluster import ROOT, api_server
from plays import Roles, collector
from stand_ins.controller import install_definitions
from stand_ins.kube import CONFIG_MAPS, NAMESPACES, Kube, Object, Resource

pytestmark = pytest.mark.slow  # whole roles are played

SECRETS = Resource("v1", "secrets", "Secret")
BUILDER = "registry.example/dtk:${KERNEL_FULL_VERSION}"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kube, Path]]:
    folder = tmp_path_factory.mktemp("driver-build")
    with api_server(folder) as kube:
        install_definitions(kube, "kmm", "test")
        yield kube, next(folder.glob("kubeconfigs/*.yml"))


@pytest.fixture
def roles(cluster: tuple[Kube, Path], tmp_path: Path) -> Roles:
    return Roles(cluster[1], tmp_path)


def definition(name: str, strategy: str, **over: Any) -> Object:
    given = {
        "name": name,
        "resource": f"acme.example/{name}",
        "hardware": {"pci": {"vendor": "1234", "device": "11e8"}},
        "driver": {
            "module": name,
            "git": {"url": "https://git.example/w.git", "ref": "v1"},
            "build": {"strategy": strategy},
        },
        "images": {"registry": "registry.example/team", "builder": BUILDER},
    }
    return _definition.load(given, over, "/")


def test_kmm_s_recipe_is_written_once_and_taken_away(cluster: tuple[Kube, Path], roles: Roles) -> None:
    kube, wanted = cluster[0], definition("built", "kmm")
    assert roles.play(wanted, "driver_build/main").changed
    recipe = kube.get(CONFIG_MAPS, "built-driver-build", "built")
    assert recipe
    script = (ROOT / "files" / "driver_container" / "build-module.sh").read_bytes()
    assert base64.b64encode(script).decode() in recipe["data"]["dockerfile"], "the script, to its last byte"
    assert roles.play(wanted, "driver_build/main").changed == 0
    with collector(kube, CONFIG_MAPS):
        assert roles.play(wanted, "driver_build/teardown").deleted() == ["ConfigMap"]
    assert kube.get(CONFIG_MAPS, "built-driver-build", "built") is None


def test_kmm_without_a_builder_is_told_where_there_is_no_toolkit(roles: Roles) -> None:
    said = roles.complaint(definition("lacking", "kmm", images={"builder": None}), "driver_build/main")
    assert said.startswith("no builder image for strategy kmm: ")
    assert "next: set images.builder" in said


def test_a_secret_without_keys_is_named_and_not_shown(cluster: tuple[Kube, Path], roles: Roles) -> None:
    kube = cluster[0]
    kube.create(NAMESPACES, NAMESPACES.new("signed"))
    secret = SECRETS.new("keys", "signed", stringData={"key": "PRIVATE", "tls.crt": "x"})
    kube.create(SECRETS, secret)
    wanted = definition("signed", "podman", driver={"git": None, "source": "/", "signing": {"secret": "keys"}})
    said = roles.complaint(wanted, "driver_build/main")
    assert said.startswith(
        "Secret signed/keys (driver.signing.secret): expected the keys key and cert; seen key, tls.crt;"
    )
    assert base64.b64encode(b"PRIVATE").decode() not in said


def test_no_kernel_means_no_build(roles: Roles) -> None:
    """A cluster without candidates is let through by a teardown only, but what is built for it is nothing."""
    wanted = definition("nothing", "podman", driver={"git": None, "source": "/"})
    exported = roles.play(wanted, "driver_build/main").of("Export the images")["ansible_facts"]["driver_build_images"]
    assert exported == {
        "template": "registry.example/team/nothing-driver:0.1.0-${KERNEL_FULL_VERSION}",
        "kernels": [],
        "images": [],
    }
